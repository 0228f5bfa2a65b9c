//! A RewardService that passes arriving calls to the test, and answers when the test lets it.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jury_proto::v1::reward_service_server::{RewardService, RewardServiceServer};
use jury_proto::v1::{
    GetStatusRequest, GetStatusResponse, ScoreRequest, ScoreResponse, ScoreStreamRequest,
    ScoreStreamResponse, ScoreWithProgressRequest, ScoreWithProgressResponse, Verdict,
};
use tokio::sync::{Semaphore, mpsc};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

pub const SERVICE: &str = "jury.v1.RewardService";

/// The test's side.
pub struct Probe {
    /// The `traceparent` of every call that arrived.
    pub arrivals: mpsc::Receiver<Option<String>>,
    /// A permit lets one call finish.
    pub answers: Arc<Semaphore>,
}

struct Service {
    arrivals: mpsc::Sender<Option<String>>,
    answers: Arc<Semaphore>,
}

impl Probe {
    pub fn new() -> (Routes, Self) {
        let (arrivals, arrived) = mpsc::channel(16);
        let answers = Arc::new(Semaphore::new(0));
        let service = Service { arrivals, answers: Arc::clone(&answers) };
        let routes = Routes::new(RewardServiceServer::new(service));
        (routes, Self { arrivals: arrived, answers })
    }
}

#[tonic::async_trait]
impl RewardService for Service {
    async fn score(
        &self,
        request: Request<ScoreRequest>,
    ) -> Result<Response<ScoreResponse>, Status> {
        let parent = request.metadata().get("traceparent");
        let parent = parent.map(|value| value.to_str().unwrap().to_owned());
        self.arrivals.send(parent).await.unwrap();
        self.answers.acquire().await.unwrap().forget();
        let item_id = request.into_inner().item.unwrap_or_default().id;
        let verdict = Verdict { item_id, ..Verdict::default() };
        Ok(Response::new(ScoreResponse { verdict: Some(verdict) }))
    }

    type ScoreWithProgressStream = BoxStream<'static, Result<ScoreWithProgressResponse, Status>>;

    async fn score_with_progress(
        &self,
        _: Request<ScoreWithProgressRequest>,
    ) -> Result<Response<Self::ScoreWithProgressStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }

    type ScoreStreamStream = BoxStream<'static, Result<ScoreStreamResponse, Status>>;

    async fn score_stream(
        &self,
        _: Request<Streaming<ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(GetStatusResponse::default()))
    }
}
