//! A backend for our tests and for tests of worker clients: it draws what a script says, when the test says so.
//!
//! ```text
//! on_group(group)  -> Draw | TooLong | Busy          what happens to a group
//! on_sample(spec)  -> Act { outcome, gate }           what happens to a sample, and when
//! on_rank(request) -> RankAct                     what happens to trajectories
//! ScriptHandle        release, wait until started, see cancels, die
//! ```
//!
//! Without scripts every sample is scored at once, by a function of only its seed and order: two backends, or one
//! backend called twice, give the same samples. Time matters only to [`Gate::After`].

mod act;
mod run;

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, pending, ready};
use jury_engine::head::{Calibration, Head, HeadCard, Network, Standardisation, StatePlace};
use jury_grm::domain::{Reproducible, SampleSpec, Settings};
use jury_grm::prompt::{Message, Span, Trust};
use jury_proto::JuryError;
use jury_proto::convert::{Capabilities, RankRequest, Ranked, SampleGroup, Trajectory, WorkerRole};
use tokio::sync::watch;

pub use act::{Act, Ending, Gate, GroupAct, RankAct, scripted_score, scripted_state};

use super::occupancy::Occupancy;
use super::{Availability, Backend, BackendInfo, GroupEvents, GroupHandle, Load};
use run::{Journal, Running};

type GroupScript = dyn Fn(&SampleGroup) -> GroupAct + Send + Sync;
type RankScript = dyn Fn(&RankRequest) -> RankAct + Send + Sync;
type SampleScript = dyn Fn(&SampleSpec, &Settings) -> Act + Send + Sync;

/// Samples that a scripted backend draws at once, unless the test sets another number.
const CAPACITY: u32 = 32;

/// Length of a scripted hidden state.
const STATE_WIDTH: usize = 4;

/// Unlimited seats: a script rejects groups itself.
fn seats(capacity: u32) -> Arc<Occupancy> {
    Arc::new(Occupancy::new(capacity as usize, usize::MAX))
}

/// A backend that follows scripts.
#[derive(Clone)]
pub struct ScriptedBackend {
    info: BackendInfo,
    on_group: Arc<GroupScript>,
    on_sample: Arc<SampleScript>,
    on_rank: Arc<RankScript>,
    occupancy: Arc<Occupancy>,
    handle: ScriptHandle,
}

/// The test's control of a [`ScriptedBackend`]; clones share state.
#[derive(Debug, Clone)]
pub struct ScriptHandle {
    /// What has happened so far.
    journal: watch::Sender<Journal>,
    availability: watch::Sender<Availability>,
    /// Serialises `start` with `die`.
    alive: Arc<Mutex<()>>,
}

/// A group of `n_samples` over two responses, with all defaults, that a new [`ScriptedBackend`] accepts.
pub fn example_group(n_samples: u32) -> SampleGroup {
    let info = ScriptedBackend::new().info;
    let span = |text: &str, trust, response| Span { text: text.into(), trust, response };
    SampleGroup {
        model_digest: info.model_digest,
        numerics: info.numerics,
        method_version: jury_grm::method_version(),
        messages: vec![Message {
            role: jury_grm::domain::Role::User,
            spans: vec![
                span("Judge these answers.\n", Trust::Trusted, None),
                span("It is Paris.", Trust::Untrusted, Some(0)),
                span("\nThe other:\n", Trust::Trusted, None),
                span("It is Lyon, I think.", Trust::Untrusted, Some(1)),
            ],
        }],
        samples: (0..n_samples)
            .map(|index| SampleSpec { index, seed: 1000 + u64::from(index), order: vec![0, 1] })
            .collect(),
        settings: Settings::default(),
        request_id: "example".to_owned(),
        remaining_ms: None,
        head_digest: None,
        hidden_states: false,
        cache_salt: None,
    }
}

/// Trajectories of `n_trajectories` samples that a new [`ScriptedBackend::as_meta`] accepts.
pub fn example_ranking(n_trajectories: u32) -> RankRequest {
    let info = ScriptedBackend::new().as_meta("meta").info;
    let said = |index| Trajectory { index, text: format!("Scores: \\boxed{{{index}}}") };
    RankRequest {
        model_digest: info.model_digest,
        numerics: info.numerics,
        messages: example_group(1).messages,
        trajectories: (0..n_trajectories).map(said).collect(),
        request_id: "example".to_owned(),
        remaining_ms: None,
        cache_salt: None,
    }
}

/// A head for [`scripted_state`], whose score is the state's first number.
pub fn example_head(name: &str) -> Head {
    let card = HeadCard {
        name: name.to_owned(),
        model_digest: ScriptedBackend::new().info.model_digest,
        data_digest: None,
        place: StatePlace::ScoreLine,
    };
    let mut weights = vec![0.0; STATE_WIDTH];
    weights[0] = 1.0;
    let standardisation =
        Standardisation { mean: vec![0.0; STATE_WIDTH], deviation: vec![1.0; STATE_WIDTH] };
    let network = Network::Linear { weights, bias: 0.0 };
    Head::new(card, standardisation, network, Calibration::NONE).expect("its parts are sound")
}

// === impl ScriptedBackend ===

impl Default for ScriptedBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl ScriptedBackend {
    /// A backend that scores every sample at once, by its seed.
    pub fn new() -> Self {
        Self {
            info: BackendInfo {
                role: WorkerRole::Grm,
                model: "scripted".to_owned(),
                model_digest: "5c".repeat(32),
                method_version: jury_grm::method_version(),
                numerics: "scripted-1".to_owned(),
                context_tokens: 4096,
                reproducible: Reproducible::Bitwise,
                capacity: CAPACITY,
                capabilities: Capabilities {
                    seeds: true,
                    distributions: false,
                    hidden_states: false,
                    cancel: true,
                    token_prompts: true,
                    ..Capabilities::default()
                },
                room_tokens: None,
                state_width: None,
                adapters: Vec::new(),
            },
            on_group: Arc::new(|_| GroupAct::Draw),
            on_sample: Arc::new(|_, _| Act::now(Ending::BySeed)),
            on_rank: Arc::new(|_| RankAct::Rank),
            occupancy: seats(CAPACITY),
            handle: ScriptHandle {
                journal: watch::Sender::new(Journal::default()),
                availability: watch::Sender::new(Availability::Up),
                alive: Arc::new(Mutex::new(())),
            },
        }
    }

    /// The same backend, serving something else.
    #[must_use]
    pub fn with_info(mut self, change: impl FnOnce(&mut BackendInfo)) -> Self {
        change(&mut self.info);
        self.occupancy = seats(self.info.capacity);
        self
    }

    /// The same backend, with support for hidden states: those of [`scripted_state`].
    #[must_use]
    pub fn with_states(mut self) -> Self {
        self.info.capabilities.hidden_states = true;
        self.info.state_width = Some(STATE_WIDTH);
        self
    }

    /// Sets the script that decides about each group before its samples.
    #[must_use]
    pub fn on_group(
        mut self,
        script: impl Fn(&SampleGroup) -> GroupAct + Send + Sync + 'static,
    ) -> Self {
        self.on_group = Arc::new(script);
        self
    }

    /// Sets the script that decides about each sample.
    #[must_use]
    pub fn on_sample(
        mut self,
        script: impl Fn(&SampleSpec, &Settings) -> Act + Send + Sync + 'static,
    ) -> Self {
        self.on_sample = Arc::new(script);
        self
    }

    /// The same backend as a Meta RM: it ranks by [`scripted_score`] and draws nothing.
    #[must_use]
    pub fn as_meta(self, model: &str) -> Self {
        let model = model.to_owned();
        self.with_info(|info| {
            (info.role, info.model, info.model_digest) = (WorkerRole::Meta, model, "3e".repeat(32));
        })
    }

    /// Sets the script that decides about the trajectories of each call.
    #[must_use]
    pub fn on_rank(
        mut self,
        script: impl Fn(&RankRequest) -> RankAct + Send + Sync + 'static,
    ) -> Self {
        self.on_rank = Arc::new(script);
        self
    }

    /// The test's control of the backend.
    pub fn handle(&self) -> ScriptHandle {
        self.handle.clone()
    }
}

impl Backend for ScriptedBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn load(&self) -> Load {
        self.occupancy.load(self.handle.journal.borrow().steps)
    }

    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle {
        let (group_handle, cancels) = GroupHandle::new(&group);
        let _alive = self.handle.lock();
        if self.handle.availability.borrow().is_dead() {
            return group_handle; // dropping `events` fails every sample
        }
        self.handle.journal.send_modify(|journal| journal.groups.push(group.clone()));
        match (self.on_group)(&group) {
            GroupAct::TooLong(too_long) => events.too_long(too_long),
            GroupAct::TooLarge(too_large) => events.too_large(too_large),
            GroupAct::Busy(retry_after) => events.busy(retry_after),
            GroupAct::Draw => {
                let acts = group
                    .samples
                    .iter()
                    .map(|spec| (self.on_sample)(spec, &group.settings))
                    .collect();
                let seats = self.occupancy.seat(group.samples.len());
                let mut events = events.seated(seats.expect("a script seats everybody"));
                events.begun();
                let running = Running::new(group, acts, events, self.handle.clone());
                tokio::spawn(running.run(cancels));
            }
        }
        group_handle
    }

    fn rank(&self, request: RankRequest) -> BoxFuture<'static, Result<Vec<Ranked>, JuryError>> {
        let act = (self.on_rank)(&request);
        self.handle.journal.send_modify(|journal| journal.rankings.push(request.clone()));
        let outcomes = |outcome: &dyn Fn(&Trajectory) -> _| {
            let said = request.trajectories.iter();
            let neutralised = act == RankAct::RankNeutralised;
            said.map(|said| Ranked { index: said.index, outcome: outcome(said), neutralised })
                .collect()
        };
        match &act {
            RankAct::Rank | RankAct::RankNeutralised => {
                Box::pin(ready(Ok(outcomes(&|said| Ok(scripted_score(&said.text))))))
            }
            RankAct::Fail(failure) => Box::pin(ready(Ok(outcomes(&|_| Err(failure.clone()))))),
            RankAct::Refuse(error) => Box::pin(ready(Err(error.clone()))),
            RankAct::Hang => Box::pin(pending()),
        }
    }

    fn availability(&self) -> watch::Receiver<Availability> {
        self.handle.availability.subscribe()
    }
}

// === impl ScriptHandle ===

impl ScriptHandle {
    /// Opens the gate of held samples with this index, in all groups, now and later.
    pub fn release(&self, index: u32) {
        self.journal.send_modify(|journal| {
            journal.released.insert(index);
        });
    }

    /// Opens the gate of every held sample, now and later.
    pub fn release_all(&self) {
        self.journal.send_modify(|journal| journal.all_released = true);
    }

    /// Sets the number of steps in the load; it is 0, "not reported", until a test sets it.
    pub fn set_steps(&self, steps: u64) {
        self.journal.send_modify(|journal| journal.steps = steps);
    }

    /// The groups received so far, in order, including rejected ones.
    pub fn groups(&self) -> Vec<SampleGroup> {
        self.journal.borrow().groups.clone()
    }

    /// The calls to rank received so far, in order, including rejected ones.
    pub fn rankings(&self) -> Vec<RankRequest> {
        self.journal.borrow().rankings.clone()
    }

    /// Waits until `n_calls` calls to rank have arrived.
    pub async fn wait_for_rankings(&self, n_calls: usize) {
        self.wait(|journal| journal.rankings.len() >= n_calls).await;
    }

    /// Indices of samples that were cancelled while they were drawn, in order.
    pub fn cancelled(&self) -> Vec<u32> {
        self.journal.borrow().cancelled.clone()
    }

    /// Indices of samples that ended without being cancelled, in order.
    pub fn ended(&self) -> Vec<u32> {
        self.journal.borrow().ended.clone()
    }

    /// Waits until `n_groups` groups have arrived.
    pub async fn wait_for_groups(&self, n_groups: usize) {
        self.wait(|journal| journal.groups.len() >= n_groups).await;
    }

    /// Waits until `n_samples` samples have ended without being cancelled.
    pub async fn wait_for_ends(&self, n_samples: usize) {
        self.wait(|journal| journal.ended.len() >= n_samples).await;
    }

    /// Waits until a sample with this index has been cancelled.
    pub async fn wait_for_cancel(&self, index: u32) {
        self.wait(|journal| journal.cancelled.contains(&index)).await;
    }

    /// Waits until `n_samples` samples have been cancelled.
    pub async fn wait_for_cancels(&self, n_samples: usize) {
        self.wait(|journal| journal.cancelled.len() >= n_samples).await;
    }

    /// Waits until no sample is being drawn.
    pub async fn wait_until_idle(&self) {
        self.wait(|journal| journal.drawing() == 0).await;
    }

    /// Kills the backend: every sample being drawn fails, and so does every later group.
    pub fn die(&self, why: &str) {
        let _alive = self.lock();
        self.availability.send_replace(Availability::Dead(why.into()));
    }

    async fn wait(&self, until: impl FnMut(&Journal) -> bool) {
        self.journal.subscribe().wait_for(until).await.expect("the sender is in self");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
