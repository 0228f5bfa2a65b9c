//! Several tenants of one coordinator, through the real gRPC service.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use jury_coordinator::Config;
use jury_coordinator::observe::{Observer, RequestNumber, Seen};
use jury_coordinator::tenants::{Tenants, TokenDigest};
use jury_grm::domain::{ScoreRequest, Status, Verdict};
use jury_proto::v1::reward_service_client::RewardServiceClient;
use jury_proto::{ErrorCode, JuryError, v1};
use jury_worker::backend::scripted::{Act, Ending, ScriptHandle, ScriptedBackend};
use parking_lot::Mutex;
use tonic::Request;

use crate::cluster::{Cluster, request};

/// A tenants file; each tenant has the token `token-NAME`.
fn write(path: &Path, tenants: &[(&str, &str)]) {
    let entry = |(name, more): &(&str, &str)| {
        let digest = TokenDigest::of(&format!("token-{name}"));
        format!("[[tenant]]\nname = \"{name}\"\ntoken_digests = [\"{digest}\"]\n{more}\n")
    };
    let text: String = tenants.iter().map(entry).collect();
    // Replaced atomically, as configuration managers do.
    let next = path.with_extension("next");
    std::fs::write(&next, text).expect("a folder of the test's own");
    std::fs::rename(&next, path).expect("a folder of the test's own");
}

/// A coordinator with these tenants. The folder holds their file.
async fn cluster(
    backend: ScriptedBackend,
    tenants: &[(&str, &str)],
    config: Config,
) -> (Cluster, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("tenants.toml");
    write(&path, tenants);
    let config = Config { tenants: Tenants::load(&path).expect("it is well formed"), ..config };
    (Cluster::start_with(config, Duration::ZERO, &[("w", backend)]).await, folder)
}

/// A call with a token.
fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut call = Request::new(message);
    call.metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().expect("it is ASCII"));
    call
}

async fn score(cluster: &Cluster, tenant: &str, asked: ScoreRequest) -> Result<Verdict, JuryError> {
    let call = with_token(&format!("token-{tenant}"), v1::ScoreRequest::from(asked));
    let answer = RewardServiceClient::new(cluster.channel()).score(call).await?.into_inner();
    answer.verdict.expect("the contract says so").try_into()
}

/// A request unlike any other.
fn numbered(k: u32, seed: u64) -> ScoreRequest {
    ScoreRequest { seed, budget_ms: NonZeroU64::new(3_600_000), ..request(k) }
}

#[tokio::test]
async fn without_a_known_token_nothing_is_told_and_nothing_is_drawn() {
    let backend = ScriptedBackend::new();
    let handle = backend.handle();
    let (cluster, _folder) = cluster(backend, &[("a", "")], Config::default()).await;
    let mut client = RewardServiceClient::new(cluster.channel());
    let asked = || v1::ScoreRequest::from(request(2));
    let item = v1::ScoreStreamRequest::new(0, &request(2).into());
    let progress = v1::ScoreWithProgressRequest { request: Some(asked()) };
    let refused = [
        client.score(asked()).await.unwrap_err(),
        client.score(with_token("token-b", asked())).await.unwrap_err(),
        client.score_stream(tokio_stream::iter([item])).await.unwrap_err(),
        client.score_with_progress(progress).await.unwrap_err(),
        client.get_status(v1::GetStatusRequest {}).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        assert_eq!(JuryError::from(status).code, ErrorCode::Unauthenticated);
    }
    assert_eq!(handle.groups(), []);
    let served = score(&cluster, "a", request(2)).await.unwrap();
    assert_eq!(served.status, Status::Ok);

    let channel = cluster.channel();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest { service: String::new() };
    assert!(health.check(asked).await.is_ok(), "health is open");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_over_quota_is_told_which_and_when_and_can_go_then() {
    let tenants = [("a", "samples_per_minute = 16"), ("b", "")];
    let (cluster, _folder) = cluster(ScriptedBackend::new(), &tenants, Config::default()).await;
    for seed in 0..2 {
        score(&cluster, "a", numbered(8, seed)).await.unwrap();
    }
    let refused = score(&cluster, "a", numbered(8, 2)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OverQuota);
    assert!(refused.message.starts_with("tenant \"a\": samples_per_minute is 16"), "{refused}");
    let delay = refused.retry_delay.unwrap();
    assert!(delay > Duration::from_secs(20) && delay <= Duration::from_secs(30), "{delay:?}");
    assert!(score(&cluster, "b", numbered(8, 2)).await.is_ok(), "it is a's quota alone");
    tokio::time::sleep(delay).await;
    assert!(score(&cluster, "a", numbered(8, 2)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_samples_counts_what_is_drawn_and_not_what_was_asked_for() {
    let tenants = [("a", "samples_per_minute = 64")];
    let (cluster, _folder) = cluster(ScriptedBackend::new(), &tenants, Config::default()).await;
    // 64 responses, two at a time: 32 samples, although one was asked for.
    let in_panels = |seed| {
        let mut asked = numbered(1, seed);
        asked.item.responses = (0..64).map(|i| format!("response {i}")).collect();
        asked.settings.max_panel = 2;
        asked
    };
    for seed in 0..2 {
        assert_eq!(score(&cluster, "a", in_panels(seed)).await.unwrap().counts.asked, 32);
    }
    let refused = score(&cluster, "a", in_panels(2)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OverQuota);
}

#[tokio::test]
async fn an_answer_from_memory_takes_nothing_of_a_quota_and_memories_are_apart() {
    let tenants = [("a", "requests_per_minute = 1"), ("b", "")];
    let (cluster, _folder) = cluster(ScriptedBackend::new(), &tenants, Config::default()).await;
    let named = |seed| ScoreRequest { request_id: "r".to_owned(), ..numbered(2, seed) };
    let first = score(&cluster, "a", named(1)).await.unwrap();
    assert_eq!(score(&cluster, "a", named(1)).await.unwrap(), first, "not judged again");
    let other = score(&cluster, "b", named(2)).await.unwrap();
    assert_ne!(other.provenance.seed, first.provenance.seed, "b's request of this id is b's");
    let refused = score(&cluster, "a", named(2)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RequestIdReused);
}

#[tokio::test]
async fn texts_that_must_not_be_kept_are_drawn_anew() {
    let backend = ScriptedBackend::new();
    let handle = backend.handle();
    let (cluster, _folder) =
        cluster(backend, &[("a", "keep_texts = false")], Config::default()).await;
    let named = |include_samples| ScoreRequest {
        request_id: format!("r{include_samples}"),
        include_samples,
        ..numbered(2, 1)
    };
    for (include_samples, n_judged) in [(false, 1), (true, 2)] {
        let n_before = handle.groups().len();
        let first = score(&cluster, "a", named(include_samples)).await.unwrap();
        let n_once = handle.groups().len() - n_before;
        let again = score(&cluster, "a", named(include_samples)).await.unwrap();
        assert_eq!((&again.rewards, &again.samples), (&first.rewards, &first.samples));
        assert_eq!(handle.groups().len() - n_before, n_judged * n_once);
    }
}

/// The distinct salts that a worker received.
fn salts(handle: &ScriptHandle) -> BTreeSet<Option<String>> {
    let drawn = handle.groups().into_iter().map(|group| group.cache_salt);
    let ranked = handle.rankings().into_iter().map(|ranking| ranking.cache_salt);
    drawn.chain(ranked).collect()
}

#[tokio::test]
async fn each_tenant_has_a_salt_of_its_own_at_every_coordinator_and_verdicts_do_not_show_it() {
    let ranked = || {
        let mut request = numbered(8, 1);
        request.voting.meta = Some("judge-of-judges".to_owned());
        request
    };
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("tenants.toml");
    write(&path, &[("team-a", ""), ("team-b", "")]);
    let (mut of_tenants, mut verdicts) = (Vec::new(), Vec::new());
    for tenant in ["team-a", "team-b", "team-a"] {
        let backends = [ScriptedBackend::new(), ScriptedBackend::new().as_meta("judge-of-judges")];
        let handles = backends.each_ref().map(ScriptedBackend::handle);
        let config = Config { tenants: Tenants::load(&path).unwrap(), ..Config::default() };
        let [grm, meta] = backends;
        let workers = [("grm", grm), ("meta", meta)];
        let cluster = Cluster::start_with(config, Duration::ZERO, &workers).await;
        for _ in 0..2 {
            verdicts.push(score(&cluster, tenant, ranked()).await.unwrap());
        }
        let [drawn, ranked] = handles.each_ref().map(salts);
        assert_eq!((drawn.len(), &drawn), (1, &ranked), "one for all that a tenant asks for");
        of_tenants.extend(drawn);
    }
    let salt = of_tenants[0].clone().expect("a tenant has one");
    assert!(salt.len() == 64 && !salt.contains("team"), "{salt}");
    assert_ne!(of_tenants[0], of_tenants[1]);
    assert_eq!(of_tenants[0], of_tenants[2], "another coordinator of the same file");
    let run = verdicts[0].run.clone();
    verdicts.iter_mut().for_each(|verdict| verdict.run = run.clone());
    assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]));
}

#[tokio::test]
async fn without_tenants_there_is_no_salt() {
    let backend = ScriptedBackend::new();
    let handle = backend.handle();
    Cluster::start(&[("w", backend)]).await.score(request(2)).await.unwrap();
    assert_eq!(salts(&handle), BTreeSet::from([None]));
}

/// Samples of one second, on a worker that draws eight at once: a fleet with a constant rate.
fn steady() -> ScriptedBackend {
    ScriptedBackend::new()
        .with_info(|info| info.capacity = 8)
        .on_sample(|_, _| Act::after(Duration::from_secs(1), Ending::BySeed))
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_tenant_leaves_the_other_its_share() {
    let config = || Config { queue_limit: 1000, ..Config::default() };
    let tenants = [("flood", ""), ("calm", "")];
    // First alone: ten requests one after the other.
    let (alone, _folder) = cluster(steady(), &tenants, config()).await;
    let began = tokio::time::Instant::now();
    for seed in 0..10 {
        score(&alone, "calm", numbered(64, seed)).await.unwrap();
    }
    let undisturbed = began.elapsed();

    let (cluster, _folder) = cluster(steady(), &tenants, config()).await;
    let cluster = Arc::new(cluster);
    let n_flooded = Arc::new(AtomicUsize::new(0));
    // Then a hundred times as many requests, all at once.
    let flood = (0..400).map(|seed| {
        let (cluster, n_flooded) = (Arc::clone(&cluster), Arc::clone(&n_flooded));
        async move {
            score(&cluster, "flood", numbered(64, 1000 + seed)).await.unwrap();
            n_flooded.fetch_add(1, Ordering::Relaxed);
        }
    });
    let flooding = tokio::spawn(join_all(flood));
    while n_flooded.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (began, n_before) = (tokio::time::Instant::now(), n_flooded.load(Ordering::Relaxed));
    for seed in 0..10 {
        score(&cluster, "calm", numbered(64, seed)).await.unwrap();
    }
    let beside_the_flood = began.elapsed();
    let n_meanwhile = n_flooded.load(Ordering::Relaxed) - n_before;
    assert!(n_meanwhile <= 25, "{n_meanwhile} of the flood went while ten others did");
    assert!(
        beside_the_flood <= undisturbed * 4,
        "{beside_the_flood:?} beside a flood of 400, {undisturbed:?} alone"
    );
    flooding.abort();
}

#[tokio::test]
async fn status_shows_a_tenant_itself_and_an_operator_all() {
    let tenants = [("a", "weight = 3"), ("ops", "operator = true")];
    let (cluster, _folder) = cluster(ScriptedBackend::new(), &tenants, Config::default()).await;
    let mut client = RewardServiceClient::new(cluster.channel());
    let mut names = async |token: &str| {
        let call = with_token(token, v1::GetStatusRequest {});
        let status = client.get_status(call).await.unwrap().into_inner();
        let each = status.tenants.into_iter().map(|tenant| (tenant.name, tenant.weight));
        each.collect::<Vec<_>>()
    };
    assert_eq!(names("token-a").await, [("a".to_owned(), 3)]);
    assert_eq!(names("token-ops").await, [("a".to_owned(), 3), ("ops".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_is_in_force_without_a_restart() {
    let (cluster, folder) = cluster(ScriptedBackend::new(), &[("a", "")], Config::default()).await;
    let path = folder.path().join("tenants.toml");
    let becomes = async |tenant: &'static str, served: bool| {
        while score(&cluster, tenant, request(2)).await.is_ok() != served {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    write(&path, &[("b", "")]);
    becomes("b", true).await;
    becomes("a", false).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_is_told_as_long_as_it_is_broken_and_its_tenants_stay() {
    let (cluster, folder) = cluster(ScriptedBackend::new(), &[("a", "")], Config::default()).await;
    let path = folder.path().join("tenants.toml");
    let becomes = async |broken: u8| {
        let line = format!("jury_coordinator_tenants_file_broken {broken}\n");
        while !cluster.metrics().contains(&line) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    write(&path, &[("a", "weight = \"much\"")]);
    becomes(1).await;
    score(&cluster, "a", request(2)).await.unwrap();
    write(&path, &[("b", "")]);
    becomes(0).await;
    score(&cluster, "b", request(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_tenant_took_and_was_refused_is_counted_under_its_name() {
    let tenants = [("a", "samples_per_minute = 4"), ("b", "")];
    let (cluster, _folder) = cluster(ScriptedBackend::new(), &tenants, Config::default()).await;
    score(&cluster, "a", numbered(4, 1)).await.unwrap();
    score(&cluster, "a", numbered(4, 2)).await.unwrap_err();
    score(&cluster, "made-up", numbered(4, 3)).await.unwrap_err();
    let metrics = cluster.metrics();
    for line in [
        "tenant_requests_total{tenant=\"a\"} 1",
        "tenant_samples_total{tenant=\"a\"} 4",
        "tenant_over_quota_total{tenant=\"a\",quota=\"samples_per_minute\"} 1",
        "tenant_over_quota_total{tenant=\"a\",quota=\"requests_per_minute\"} 0",
        "tenant_requests_total{tenant=\"b\"} 0",
        "tenant_tokens_total{tenant=\"b\"} 0",
        "unauthenticated_total 1",
    ] {
        let line = format!("jury_coordinator_{line}\n");
        assert!(metrics.contains(&line), "{metrics} lacks {line}");
    }
    assert!(!metrics.contains("made-up"), "{metrics}");
}

#[tokio::test]
async fn an_observer_is_shown_nothing_of_a_tenant_whose_texts_must_not_be_kept() {
    let seen = Arc::new(Senders::default());
    let config = Config { observer: Some(seen.clone()), ..Config::default() };
    let tenants = [("private", "keep_texts = false"), ("other", "")];
    let (cluster, _folder) = cluster(ScriptedBackend::new(), &tenants, config).await;
    for (tenant, seed) in [("private", 1), ("other", 2)] {
        score(&cluster, tenant, numbered(2, seed)).await.unwrap();
    }
    assert_eq!(*seen.0.lock(), ["other"]);
}

/// Records which tenants sent requests.
#[derive(Debug, Default)]
struct Senders(Mutex<Vec<String>>);

impl Observer for Senders {
    fn observe(&self, _: RequestNumber, seen: Seen<'_>) {
        if let Seen::Came { tenant, .. } = seen {
            self.0.lock().push(tenant.to_string());
        }
    }
}
