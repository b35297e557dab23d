//! Who takes part in a database: grants, revokes, feeds added by choice.

use super::apply_user::{self, Answer};
use super::coverage::count;
use super::replica::Replica;
use super::schedule::Mode;
use super::world::{World, text};
use multi_hyperbee::db::{Code, Written};
use multi_hyperbee::types::FeedKey;

impl World {
    /// Grants or revokes a writer, if the device may: in each of the databases.
    pub fn control(&mut self, by: usize, who: usize, grant: Option<bool>) -> Result<(), String> {
        let writers: Vec<FeedKey> = self.devices[who].replicas.iter().map(Replica::local).collect();
        for (replica, writer) in self.devices[by].replicas.iter_mut().zip(writers) {
            if replica.is_mute() || replica.cautious {
                continue;
            }
            match (replica.mode, grant) {
                (Mode::Merge, _) => control(replica, writer, grant)?,
                (Mode::Apply, Some(true)) => apply_control(replica, &format!("add {writer} indexer"))?,
                (Mode::Apply, Some(false)) => apply_control(replica, &format!("add {writer}"))?,
                (Mode::Apply, None) => apply_control(replica, &format!("rm {writer}"))?,
            }
        }
        Ok(())
    }

    pub fn add_peer(&mut self, at: usize, who: usize) -> Result<(), String> {
        if at == who {
            return Ok(());
        }
        let Some(feed) = self.devices[who].replica(Mode::Merge).map(|replica| replica.local()) else {
            return Ok(());
        };
        let Some(replica) = self.devices[at].replica(Mode::Merge) else { return Ok(()) };
        count("add peer");
        let new = replica.chosen.insert(feed, u64::MAX) != Some(u64::MAX);
        let reply = replica.db().add_peer(feed).wait().map_err(text)?;
        if reply == new { Ok(()) } else { Err(format!("added: {reply}")) }
    }

    pub fn remove_peer(&mut self, at: usize, who: usize) -> Result<(), String> {
        let Some(feed) = self.devices[who].replica(Mode::Merge).map(|replica| replica.local()) else {
            return Ok(());
        };
        let Some(replica) = self.devices[at].replica(Mode::Merge) else { return Ok(()) };
        count("remove peer");
        replica.settle();
        let was = replica.chosen.get(&feed) == Some(&u64::MAX);
        let members = replica.db().members().map_err(text)?;
        let placed = members.iter().find(|member| member.key == feed).map_or(0, |member| member.length);
        let reply = replica.db().remove_peer(feed).wait().map_err(text)?;
        if reply != was {
            return Err(format!("removed: {reply}"));
        }
        if was {
            replica.chosen.insert(feed, placed);
        }
        Ok(())
    }
}

fn control(replica: &mut Replica, writer: FeedKey, grant: Option<bool>) -> Result<(), String> {
    let (may, may_miss) = (replica.db().status().map_err(text)?.indexer, replica.may_miss_own()?);
    // Only what it has said of itself can take its right with its next entry.
    let right = if may && replica.spoke_of_itself() { replica.right_of_next()? } else { may.then_some(true) };
    let says_so = writer == replica.local() && right == grant;
    let acts = may && (right == Some(true) || says_so);
    let reply = match grant {
        Some(indexer) => replica.db().add_writer(writer, indexer),
        None => replica.db().remove_writer(writer, false),
    };
    match reply.wait() {
        Ok(Written::Yes { length, .. }) if acts && length == replica.ledger.len() as u64 + 1 => {
            count(if grant.is_some() { "grant" } else { "revoke" });
            replica.learn_own()
        }
        Err(error)
            if !acts && error.code == Code::NotPermitted || may_miss && error.code == Code::Restored =>
        {
            count("grant: refused");
            Ok(())
        }
        other => Err(format!(
            "an indexer: {may}, with its next entry: {right:?}, length {}: {other:?}",
            replica.ledger.len()
        )),
    }
}

fn apply_control(replica: &mut Replica, command: &str) -> Result<(), String> {
    count(if command.starts_with("add") { "grant" } else { "revoke" });
    apply_user::act(replica, &[command.to_owned()], Answer::All)
}
