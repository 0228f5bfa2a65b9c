//! The edge: protobuf to domain once, verdicts and errors back. Nothing past this file sees a
//! `Status`.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use jury_fabric::transport::MAX_MESSAGE_BYTES;
use jury_fabric::{deadline, trace};
use jury_grm::budget_ms;
use jury_grm::domain::{Progress, ScoreRequest, Verdict};
use jury_proto::v1::reward_service_server::RewardService;
use jury_proto::v1::{self, score_stream_response, score_with_progress_response};
use jury_proto::{ErrorCode, JuryError};
use prost::Message;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use crate::coordinator::Coordinator;
use crate::progress::{self, Teller};
use crate::tenants::Tenant;

/// Answers of a stream that may wait for the caller to read them.
const STREAM_BACKLOG: usize = 16;
/// Places of them that progress never takes.
const KEPT_FOR_ANSWERS: usize = STREAM_BACKLOG / 2;
/// Room in a message for what stands beside a verdict.
const AROUND_VERDICT_BYTES: usize = 1024;

/// `jury.v1.RewardService` over a [`Coordinator`].
#[derive(Clone)]
pub(crate) struct Service {
    coordinator: Coordinator,
}

// === impl Service ===

impl Service {
    pub(crate) fn new(coordinator: Coordinator) -> Self {
        Self { coordinator }
    }

    /// Reads one request; its budget is within the call's deadline if it brings none.
    fn read(
        &self,
        request: v1::ScoreRequest,
        call_deadline: Option<Duration>,
    ) -> Result<ScoreRequest, JuryError> {
        let read =
            ScoreRequest::try_from(request).inspect_err(|_| self.coordinator.record_invalid());
        let mut request = read?;
        request.budget_ms = budget_ms(request.budget_ms, call_deadline);
        Ok(request)
    }

    async fn judge(
        &self,
        tenant: &Tenant,
        request: ScoreRequest,
    ) -> Result<Arc<Verdict>, JuryError> {
        self.coordinator.score_telling(tenant, request, &Teller::to_nobody()).await
    }

    /// The same; each step that `answers` has room for goes there as well.
    async fn judge_telling<T>(
        &self,
        tenant: &Tenant,
        request: ScoreRequest,
        answers: &mpsc::Sender<T>,
        as_answer: impl Fn(Progress) -> T,
    ) -> Result<Arc<Verdict>, JuryError> {
        let (teller, watcher) = progress::channel();
        let judged = self.coordinator.score_telling(tenant, request, &teller);
        let tell = |step| {
            if answers.capacity() > KEPT_FOR_ANSWERS {
                drop(answers.try_send(as_answer(step)));
            }
        };
        watcher.alongside(judged, tell).await
    }
}

/// What a stream has to send. A verdict becomes a message when its turn comes: one that is kept may wait in many streams, and
/// is held once.
enum Outgoing {
    Progress(Progress),
    Judged(Result<Arc<Verdict>, JuryError>),
}

/// The verdict as it is sent, unless no message can hold it.
fn message(verdict: Arc<Verdict>) -> Result<v1::Verdict, JuryError> {
    let verdict = v1::Verdict::from(Arc::unwrap_or_clone(verdict));
    let bytes = verdict.encoded_len();
    if bytes + AROUND_VERDICT_BYTES <= MAX_MESSAGE_BYTES {
        return Ok(verdict);
    }
    let problem = format!(
        "the verdict with its samples has {bytes} bytes, and a message holds {MAX_MESSAGE_BYTES}; leave it out, or ask for \
         fewer or shorter samples"
    );
    Err(JuryError::invalid("include_samples", problem))
}

#[tonic::async_trait]
impl RewardService for Service {
    async fn score(
        &self,
        request: Request<v1::ScoreRequest>,
    ) -> Result<Response<v1::ScoreResponse>, Status> {
        let span = trace::server_span("jury.v1.RewardService/Score", request.metadata());
        let call_deadline = deadline::of_call(request.metadata());
        let tenant = tenant_of(&request)?;
        let request = self.read(request.into_inner(), call_deadline)?;
        let verdict = message(self.judge(&tenant, request).instrument(span).await?)?;
        Ok(Response::new(v1::ScoreResponse { verdict: Some(verdict) }))
    }

    type ScoreWithProgressStream =
        BoxStream<'static, Result<v1::ScoreWithProgressResponse, Status>>;

    async fn score_with_progress(
        &self,
        request: Request<v1::ScoreWithProgressRequest>,
    ) -> Result<Response<Self::ScoreWithProgressStream>, Status> {
        let span =
            trace::server_span("jury.v1.RewardService/ScoreWithProgress", request.metadata());
        let call_deadline = deadline::of_call(request.metadata());
        let tenant = tenant_of(&request)?;
        let request = request.into_inner().request.ok_or_else(|| {
            self.coordinator.record_invalid();
            JuryError::invalid("request", "is missing")
        })?;
        let request = self.read(request, call_deadline)?;
        let (answers, answered) = mpsc::channel(STREAM_BACKLOG);
        tokio::spawn(answer_with_progress(self.clone(), tenant, request, answers).instrument(span));
        Ok(Response::new(ReceiverStream::new(answered).map(with_progress).boxed()))
    }

    type ScoreStreamStream = BoxStream<'static, Result<v1::ScoreStreamResponse, Status>>;

    async fn score_stream(
        &self,
        request: Request<Streaming<v1::ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let span = trace::server_span("jury.v1.RewardService/ScoreStream", request.metadata());
        let tenant = tenant_of(&request)?;
        let requests = request.into_inner();
        let (answers, answered) = mpsc::channel(STREAM_BACKLOG);
        tokio::spawn(answer_stream(self.clone(), tenant, requests, answers).instrument(span));
        let answered = ReceiverStream::new(answered);
        Ok(Response::new(answered.map(|answer| answer.map(numbered)).boxed()))
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(self.coordinator.status_for(&tenant_of(&request)?)))
    }
}

/// Lets calls pass that a tenant makes, and puts the tenant beside them.
pub(crate) fn authenticator(
    coordinator: Coordinator,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |mut request: Request<()>| {
        let authorization = request.metadata().get("authorization").map(|value| value.as_bytes());
        let tenant = coordinator.authenticate(authorization, request.remote_addr())?;
        request.extensions_mut().insert(tenant);
        Ok(request)
    }
}

/// On whose behalf a call is made that the [`authenticator`] has let pass.
fn tenant_of<T>(request: &Request<T>) -> Result<Tenant, Status> {
    let tenant = request.extensions().get::<Tenant>().cloned();
    tenant.ok_or_else(|| {
        JuryError::new(ErrorCode::Unauthenticated, "the call was not authenticated").into()
    })
}

/// Judges the items of a stream side by side. Reading stops while as many are under way as may
/// be, which is what holds a fast caller back; all of it stops when the caller goes away.
async fn answer_stream(
    service: Service,
    tenant: Tenant,
    mut requests: Streaming<v1::ScoreStreamRequest>,
    answers: mpsc::Sender<Result<(u64, Outgoing), Status>>,
) {
    let places = Arc::new(Semaphore::new(service.coordinator.stream_concurrency()));
    let mut under_way = tokio::task::JoinSet::new();
    let mut broke = None;
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            (place, requests.message().await)
        };
        let (place, request) = tokio::select! {
            () = answers.closed() => return,
            // A stream without items in flight must not hold up the end.
            () = service.coordinator.closed() => break,
            next = next => next,
        };
        match request {
            Ok(Some(request)) => {
                let (service, answers) = (service.clone(), answers.clone());
                let tenant = tenant.clone();
                let judged = async move {
                    let answer = answer_one(&service, &tenant, request, &answers).await;
                    drop(answers.send(Ok(answer)).await);
                    drop(place);
                };
                under_way.spawn(judged.in_current_span());
            }
            Ok(None) => break,
            Err(status) => {
                broke = Some(status);
                break;
            }
        }
        while under_way.join_next().now_or_never().flatten().is_some() {}
    }
    tokio::select! {
        () = answers.closed() => return,
        () = async { while under_way.join_next().await.is_some() {} } => {}
    }
    // The stream cannot be read on, as after a message over the limit. What it brought before is
    // answered by now; nothing can follow an error.
    if let Some(status) = broke {
        drop(answers.send(Err(status)).await);
    }
}

async fn answer_one(
    service: &Service,
    tenant: &Tenant,
    request: v1::ScoreStreamRequest,
    answers: &mpsc::Sender<Result<(u64, Outgoing), Status>>,
) -> (u64, Outgoing) {
    let (sequence, with_progress) = (request.sequence, request.with_progress);
    let judged = match request.into_request() {
        Ok(read) => match service.read(read, None) {
            Ok(read) if with_progress => {
                let as_answer = |step| Ok((sequence, Outgoing::Progress(step)));
                service.judge_telling(tenant, read, answers, as_answer).await
            }
            Ok(read) => service.judge(tenant, read).await,
            Err(error) => Err(error),
        },
        Err(error) => {
            service.coordinator.record_invalid();
            Err(error)
        }
    };
    (sequence, Outgoing::Judged(judged))
}

fn numbered((sequence, outgoing): (u64, Outgoing)) -> v1::ScoreStreamResponse {
    use score_stream_response::Result as Answer;
    let answer = match outgoing {
        Outgoing::Progress(step) => Answer::Progress(step.into()),
        Outgoing::Judged(judged) => match judged.and_then(message) {
            Ok(verdict) => Answer::Verdict(verdict),
            Err(error) => Answer::Error(error.into()),
        },
    };
    v1::ScoreStreamResponse { sequence, result: Some(answer) }
}

/// Judges one request under its caller's eyes, until the caller goes away.
async fn answer_with_progress(
    service: Service,
    tenant: Tenant,
    request: ScoreRequest,
    answers: mpsc::Sender<Outgoing>,
) {
    let judged = tokio::select! {
        () = answers.closed() => return,
        judged = service.judge_telling(&tenant, request, &answers, Outgoing::Progress) => judged,
    };
    drop(answers.send(Outgoing::Judged(judged)).await);
}

fn with_progress(outgoing: Outgoing) -> Result<v1::ScoreWithProgressResponse, Status> {
    use score_with_progress_response::Event;
    let event = match outgoing {
        Outgoing::Progress(step) => Event::Progress(step.into()),
        Outgoing::Judged(judged) => Event::Verdict(judged.and_then(message)?),
    };
    Ok(v1::ScoreWithProgressResponse { event: Some(event) })
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use jury_fabric::connector::Connector;
    use jury_fabric::directory::InProcess;
    use jury_grm::domain::{Item, Query, Status};
    use jury_proto::v1::ScoreStreamRequest;
    use prometheus_client::registry::Registry;
    use prost::bytes::Bytes;
    use tokio::time::timeout;

    use super::*;
    use crate::config::Config;
    use crate::idempotency::tests::verdict;

    /// Bytes of a message, and whether anyone still holds them.
    fn tracked(bytes: Vec<u8>) -> (Bytes, Weak<[u8]>) {
        let bytes: Arc<[u8]> = bytes.into();
        let held = Arc::downgrade(&bytes);
        (Bytes::from_owner(bytes), held)
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_that_waits_does_not_hold_the_bytes_in_which_it_came() {
        let config = Config { worker_wait: Duration::from_secs(9), ..Config::default() };
        let (directory, mut registry) = (Arc::new(InProcess::new()), Registry::default());
        let connector = Connector::default();
        let coordinator = Coordinator::start(config, directory, connector, &mut registry).unwrap();
        let item = Item::bare(Query::Text("q".to_owned()), vec!["a".to_owned()]);
        let mut message = v1::ScoreRequest::from(ScoreRequest::new(item)).encode_to_vec();
        // Field 900, unknown, with 1 MiB in it.
        prost::encoding::bytes::encode(900, &vec![0; 1 << 20], &mut message);
        let (bytes, held) = tracked(message);
        let request = ScoreStreamRequest {
            request: Some(bytes),
            ..ScoreStreamRequest::new(7, &v1::ScoreRequest::default())
        };
        let (answers, _answered) = mpsc::channel(1);
        let (service, tenant) = (Service::new(coordinator), Tenant::in_process());
        let answer = answer_one(&service, &tenant, request, &answers);
        tokio::pin!(answer);
        assert!(timeout(Duration::from_secs(1), &mut answer).await.is_err(), "no worker came");
        assert!(held.upgrade().is_none(), "the bytes are kept while it waits");
        let (sequence, judged) = answer.await;
        assert!(sequence == 7 && matches!(judged, Outgoing::Judged(Ok(_))));
    }

    #[test]
    fn a_verdict_that_no_message_holds_is_an_error_that_says_what_to_leave_out() {
        let of_bytes = |bytes| {
            let item_id = "x".repeat(bytes);
            message(Arc::new(Verdict { item_id, ..verdict(Status::Ok, None) }))
        };
        assert!(of_bytes(MAX_MESSAGE_BYTES / 2).is_ok());
        let error = of_bytes(MAX_MESSAGE_BYTES).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("include_samples"));
    }
}
