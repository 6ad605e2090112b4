//! Calls as the controllers make them. Each is a point at which anything else may happen first, at which the process may
//! die, and which may meet a fault.

use std::cell::{Ref, RefCell, RefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use chrono::{DateTime, Utc};

use super::faults::Fault;
use super::world::{ApiError, World};

/// The operator's view of the world.
#[derive(Clone)]
pub struct Api(pub Rc<RefCell<World>>);

/// What a live look found.
pub enum Look<T> {
    There(T),
    Gone,
    Unknown,
}

struct Turn(bool);

impl Future for Turn {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Api {
    pub fn world(&self) -> Ref<'_, World> {
        self.0.borrow()
    }

    pub fn change(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.world().local()
    }

    /// Lets others go first; then says what this call meets.
    pub async fn turn(&self) -> Fault {
        Turn(false).await;
        std::mem::replace(&mut self.change().fault, Fault::None)
    }

    /// Reads an object.
    pub async fn read<T>(&self, found: impl FnOnce(&World) -> Option<T>) -> Look<T> {
        match self.turn().await {
            Fault::None | Fault::GrantsMore | Fault::Unmanageable => {
                found(&self.world()).map_or(Look::Gone, Look::There)
            }
            _ => {
                self.change().say(|_| "  (a read failed)".into());
                Look::Unknown
            }
        }
    }

    /// Writes.
    pub async fn write<T>(
        &self,
        what: &str,
        write: impl FnOnce(&mut World) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let fault = self.turn().await;
        let world = &mut *self.change();
        let done = match fault {
            Fault::None | Fault::GrantsMore | Fault::Unmanageable => write(world),
            Fault::Lost | Fault::WrongBody => write(world).and(Err(ApiError::Failed)),
            Fault::NotSent | Fault::Late | Fault::Busy | Fault::Refused(_) | Fault::Broken => Err(ApiError::Failed),
        };
        world.writes += u64::from(done.is_ok());
        world.say(|_| match &done {
            Ok(_) => format!("  wrote {what}"),
            Err(error) => format!("  writing {what}: {error:?} ({fault:?})"),
        });
        done
    }

    /// Calls the authorization server.
    pub async fn call<T, E: std::fmt::Display>(
        &self,
        what: &str,
        call: impl FnOnce(&mut World, Fault) -> Result<T, E>,
    ) -> Result<T, E> {
        let fault = self.turn().await;
        let world = &mut *self.change();
        let done = call(world, fault);
        let mode = world.server.mode;
        world.say(|_| match &done {
            Ok(_) => format!("  server: {what}"),
            Err(error) => format!("  server: {what}: {error} ({fault:?}, {mode:?})"),
        });
        done
    }
}
