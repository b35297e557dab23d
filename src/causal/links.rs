use super::{LinkRule, Past, Placed};
use crate::types::{Effective, FeedKey};

/// The links an honest writer's next batch carries: lengths of `candidates` (what may be named: the placed lengths of
/// feeds of which something counts or has counted) that its past would not reach without them.
///
/// In the order in which they are read: each is open to whoever has read those before it. So if they do not fit in one
/// entry, the list is cut anywhere, and acknowledgements take up the front. The latest batch comes first, since it
/// is the likeliest to have the others in its past; a link that a later one of the list would have covered can remain,
/// and does no harm.
pub fn links<P: Placed>(
    writer: FeedKey,
    rule: LinkRule,
    candidates: &Past,
    placed: &P,
) -> Result<Vec<(FeedKey, u64)>, P::Error> {
    let own = placed.length(writer)?;
    let mut past = if own == 0 { Past::new() } else { placed.past(writer, own)? };
    let mut left: Vec<(Effective, FeedKey, u64)> = Vec::new();
    for (feed, length) in candidates.iter().filter(|(feed, _)| *feed != writer) {
        left.push((placed.effective(feed, length)?, feed, length));
    }
    left.sort_unstable_by(|a, b| b.cmp(a));
    let mut links = Vec::new();
    loop {
        left.retain(|(_, feed, length)| past.get(feed) < *length);
        let mut next = None;
        for (_, feed, length) in &left {
            if rule.reads(*feed, &past, placed)? {
                next = Some((*feed, *length));
                break;
            }
        }
        let Some((feed, length)) = next else { return Ok(links) };
        past.join(&placed.past(feed, length)?);
        links.push((feed, length));
    }
}
