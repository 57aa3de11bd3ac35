//! What answers a question: one agent, or several through the API server.

use super::args::QueryArgs;
use super::connect::{self, Way};
use super::exit::Failure;
use super::reach::{self, Fan, Plan};
use super::target::{self, Asked};
use crate::export::grpc::{QueryMessage, QueryMessages, QueryOptions};

/// What comes in.
#[derive(Debug)]
pub(super) enum Told {
    /// Of an agent.
    Message(QueryMessage),
    /// About the asking itself, for whoever waits: how far it is, who does not answer.
    Note(String),
}

/// An answer as it comes in.
pub(super) enum Answer {
    /// Of one agent.
    One(Box<QueryMessages>),
    /// Of several.
    Many(Box<Fan>),
}

impl Answer {
    /// Asks whoever is to be asked. Gives the answer, and what was asked.
    pub(super) async fn to(args: &QueryArgs) -> Result<(Self, Asked), Failure> {
        let options = |asked: &Asked| QueryOptions {
            pods: asked.pods.clone(),
            since: args.since,
            causes: args.cause.clone(),
            to: args.to.clone(),
            follow: args.follow,
            limit: args.limit,
        };
        match connect::way(&args.server, args.target.as_ref().is_some_and(target::Target::is_workload))? {
            Way::Agent(at) => {
                let asked =
                    target::asked(args.target.as_ref(), args.namespace.as_deref()).map_err(Failure::Usage)?;
                let messages = connect::to(&at, &args.server).await?.query(&options(&asked)).await?;
                Ok((Self::One(Box::new(messages)), asked))
            }
            Way::Cluster => {
                let reach = reach::open(&args.server).await?;
                let plan = Plan::make(&reach, args).await?;
                let asked = plan.asked.clone();
                let fan = Fan::ask(&reach, plan, &options(&asked));
                Ok((Self::Many(Box::new(fan)), asked))
            }
        }
    }

    /// What comes next; `None` when the answer is complete. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<Told>, Failure> {
        match self {
            Self::One(messages) => Ok(messages.next().await?.map(Told::Message)),
            Self::Many(fan) => Ok(fan.next().await),
        }
    }

    /// Whether everybody answered who was asked.
    pub(super) fn outcome(&self, words: &str) -> Result<(), Failure> {
        match self {
            Self::One(_) => Ok(()),
            Self::Many(fan) => fan.outcome(words),
        }
    }
}
