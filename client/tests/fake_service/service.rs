//! A `RewardService` in memory that follows a script, and the requests that are sent to it.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jury_client::{Client, ClientConfig};
use jury_fabric::transport::{self, HealthHandle, Listener, ServerConfig};
use jury_grm::domain::{Item, Progress, ScoreRequest, Settings};
use jury_proto::v1::reward_service_server::{RewardService, RewardServiceServer};
use jury_proto::v1::score_stream_response::Result as Answer;
use jury_proto::v1::score_with_progress_response::Event;
use jury_proto::{JuryError, v1};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

#[derive(Debug, Clone)]
pub enum Act {
    Judge,
    Fail(JuryError),
    /// Streams only: ends the stream without an answer.
    HangUp,
    /// Never answers.
    Stall,
}

/// A `RewardService` that follows a script, then judges whatever comes.
#[derive(Clone, Default)]
pub struct FakeRewardService {
    script: Arc<Mutex<VecDeque<Act>>>,
    pub seen: Arc<Mutex<Vec<v1::ScoreRequest>>>,
    pub timeouts: Arc<Mutex<Vec<Option<String>>>>,
    pub traces: Arc<Mutex<Vec<Option<String>>>>,
    /// Streams are not read before this.
    may_read: Option<Arc<Notify>>,
}

impl FakeRewardService {
    pub fn scripted(acts: impl IntoIterator<Item = Act>) -> Self {
        let script = Arc::new(Mutex::new(acts.into_iter().collect()));
        Self { script, ..Self::default() }
    }

    /// Reads the next stream only once it is told to.
    pub fn read_after(may_read: Arc<Notify>) -> Self {
        Self { may_read: Some(may_read), ..Self::default() }
    }

    fn next_act(&self, request: &v1::ScoreRequest) -> Act {
        self.seen.lock().unwrap().push(request.clone());
        self.script.lock().unwrap().pop_front().unwrap_or(Act::Judge)
    }

    pub fn seen_ids(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|request| request.request_id.clone()).collect()
    }

    /// A client of this service, over memory.
    pub fn client(&self, config: ClientConfig) -> Client {
        let (channel, incoming) = transport::in_process();
        let routes = Routes::new(RewardServiceServer::new(self.clone()));
        tokio::spawn(transport::serve(
            routes,
            HealthHandle::new(&[]),
            Listener::InProcess(incoming),
            CancellationToken::new(),
            ServerConfig::default(),
        ));
        Client::new(channel, config)
    }
}

#[tonic::async_trait]
impl RewardService for FakeRewardService {
    async fn score(
        &self,
        request: Request<v1::ScoreRequest>,
    ) -> Result<Response<v1::ScoreResponse>, Status> {
        let header = |name: &str| {
            request.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        self.timeouts.lock().unwrap().push(header("grpc-timeout"));
        self.traces.lock().unwrap().push(header("traceparent"));
        let request = request.into_inner();
        match self.next_act(&request) {
            Act::Judge => Ok(Response::new(v1::ScoreResponse { verdict: Some(verdict(&request)) })),
            Act::Fail(error) => Err(error.into()),
            Act::HangUp => Err(Status::unavailable("hung up")),
            Act::Stall => std::future::pending().await,
        }
    }

    type ScoreWithProgressStream =
        BoxStream<'static, Result<v1::ScoreWithProgressResponse, Status>>;

    async fn score_with_progress(
        &self,
        request: Request<v1::ScoreWithProgressRequest>,
    ) -> Result<Response<Self::ScoreWithProgressStream>, Status> {
        let request = request.into_inner().request.unwrap_or_default();
        let told = |event| Ok(v1::ScoreWithProgressResponse { event: Some(event) });
        let step = told(Event::Progress(Progress::waiting(8).into()));
        let last = match self.next_act(&request) {
            Act::Judge => told(Event::Verdict(verdict(&request))),
            Act::Fail(error) => Err(error.into()),
            Act::HangUp => Err(Status::unavailable("hung up")),
            Act::Stall => {
                return Ok(Response::new(stream::iter([step]).chain(stream::pending()).boxed()));
            }
        };
        Ok(Response::new(stream::iter([step, last]).boxed()))
    }

    type ScoreStreamStream = BoxStream<'static, Result<v1::ScoreStreamResponse, Status>>;

    async fn score_stream(
        &self,
        request: Request<Streaming<v1::ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let answers = stream::unfold((self.clone(), request.into_inner()), next_answer);
        Ok(Response::new(answers.boxed()))
    }

    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let status = v1::GetStatusResponse { version: "fake".to_owned(), ..Default::default() };
        Ok(Response::new(status))
    }
}

type Call = (FakeRewardService, Streaming<v1::ScoreStreamRequest>);

async fn next_answer(call: Call) -> Option<(Result<v1::ScoreStreamResponse, Status>, Call)> {
    let (mut fake, mut requests) = call;
    if let Some(may_read) = fake.may_read.take() {
        may_read.notified().await;
    }
    loop {
        let message = requests.message().await.ok()??;
        let sequence = message.sequence;
        let request = message.into_request().ok()?;
        let result = match fake.next_act(&request) {
            Act::Judge => Answer::Verdict(verdict(&request)),
            Act::Fail(error) => Answer::Error(v1::ScoreError {
                grpc_code: error.code.grpc() as i32,
                message: error.message,
                reason: error.code.name().to_owned(),
                field: error.field.unwrap_or_default(),
                retry_delay_ms: error.retry_delay.map(|delay| delay.as_millis() as u64),
            }),
            Act::HangUp => return None,
            Act::Stall => continue,
        };
        let answer = v1::ScoreStreamResponse { sequence, result: Some(result) };
        return Some((Ok(answer), (fake, requests)));
    }
}

fn verdict(request: &v1::ScoreRequest) -> v1::Verdict {
    v1::Verdict {
        item_id: request.item.as_ref().map(|item| item.id.clone()).unwrap_or_default(),
        status: v1::VerdictStatus::Ok.into(),
        counts: Some(v1::Counts::default()),
        usage: Some(v1::Usage::default()),
        provenance: Some(v1::Provenance {
            settings: Some(Settings::default().into()),
            ..Default::default()
        }),
        run: Some(v1::RunReport::default()),
        ..Default::default()
    }
}

pub fn request(id: impl Display + Copy) -> ScoreRequest {
    let json = serde_json::json!({"id": id.to_string(), "query": "q", "responses": ["a", "b"]});
    ScoreRequest::new(Item::from_json(&json.to_string()).unwrap().0)
}

pub fn busy(after: Duration) -> Act {
    Act::Fail(JuryError::overloaded("the queue is full", after))
}
