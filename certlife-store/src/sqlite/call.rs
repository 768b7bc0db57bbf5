//! A piece of work on its way to a database thread, and its outcome on the way back.
//!
//! The queues are unbounded, and need no bound: every caller waits for its answer before it asks again.

use std::sync::mpsc::Sender;

use certlife_core::{Error, Operation, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    NAME,
    refusal::{Refusal, io},
};

/// Work for a database thread.
pub(super) trait Job: Send {
    /// Does the work and keeps the outcome; tells whether what it changed may stay.
    fn run(&mut self, db: &Connection) -> bool;

    /// Sends the outcome. With `void`, work that succeeded is lost all the same, for that reason.
    fn answer(self: Box<Self>, void: Option<&str>);
}

/// Has `work` done by the thread behind `queue`. If the caller goes away, the work is done all the same.
pub(super) async fn call<T, W>(queue: &Sender<Box<dyn Job>>, operation: Operation, work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
{
    let gone = || Error::new(NAME, operation, io("the database thread has ended"));
    let (reply, answer) = oneshot::channel();
    queue.send(Box::new(Call { operation, stage: Stage::Waiting(work), reply })).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

struct Call<T, W> {
    operation: Operation,
    stage: Stage<T, W>,
    reply: oneshot::Sender<Result<T>>,
}

enum Stage<T, W> {
    Waiting(W),
    Running,
    Done(Result<T, Refusal>),
}

impl<T, W> Job for Call<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, Refusal> + Send,
{
    fn run(&mut self, db: &Connection) -> bool {
        if let Stage::Waiting(work) = std::mem::replace(&mut self.stage, Stage::Running) {
            self.stage = Stage::Done(work(db));
        }
        matches!(self.stage, Stage::Done(Ok(_)))
    }

    fn answer(self: Box<Self>, void: Option<&str>) {
        let failed = |why: &str| Err(Error::new(NAME, self.operation, io(why)));
        let result = match (self.stage, void) {
            (Stage::Done(Err(refusal)), _) => Err(refusal.into_error(self.operation)),
            (Stage::Done(Ok(value)), None) => Ok(value),
            (_, Some(why)) => failed(why),
            (Stage::Waiting(_) | Stage::Running, None) => failed("the work was not carried out"),
        };
        // A caller that went away does not want its answer.
        let _ = self.reply.send(result);
    }
}
