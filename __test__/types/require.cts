// What compiles, and what must not, for who requires. Nothing here runs.

import MultiHyperbee = require('multi-hyperbee')

const { Store, Autobee, MultiHyperbeeError } = MultiHyperbee

const db: MultiHyperbee<string, { n: number }> = new MultiHyperbee(':memory:', { name: 'x' })
const store: MultiHyperbee.Store = new Store(':memory:')
const autobee: MultiHyperbee = new Autobee(store, null, {})
const isOne: boolean = MultiHyperbee.isMultiHyperbee(db)

async function main(): Promise<number> {
  const entry: MultiHyperbee.Entry<string, { n: number }> | null = await db.get('k')
  const peer: MultiHyperbee.Peer = await db.addPeer(Buffer.alloc(32))
  const feed: MultiHyperbee.Feed = peer.feed
  return (entry?.value.n ?? 0) + feed.length
}

function code(error: unknown): MultiHyperbee.ErrorCode | null {
  return error instanceof MultiHyperbeeError ? error.code : null
}

// @ts-expect-error a storage is needed
new MultiHyperbee()
// @ts-expect-error no such export
MultiHyperbee.Multifeed

void [autobee, isOne, main, code]
