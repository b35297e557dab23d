// What compiles, and what must not, for who imports. Nothing here runs.

import MultiHyperbee, { Autobee, Feed, MultiHyperbeeError, Store } from 'multi-hyperbee'
import { MultiHyperbee as Named } from 'multi-hyperbee'
import type {
  Entry,
  ErrorCode,
  HistoryEntry,
  Options,
  Read,
  Receipt,
  ReplicationStream,
  Stats,
  Status,
  Stored
} from 'multi-hyperbee'
import { Duplex } from 'node:stream'

interface Contact {
  firstName: string
  phones?: string[]
}

const options: Options<string, Contact> = { keyEncoding: 'utf-8', writers: 'open', maxDrift: 1000 }
const db = new MultiHyperbee<string, Contact>('./my-db', options)
const joined: MultiHyperbee = new Named('./other', 'ab'.repeat(32))
const autobee: Autobee = new Autobee(':memory:', Buffer.alloc(32), { name: 'x' })
const store = new Store('./store', { readOnly: false })
const shared = new MultiHyperbee(store, {
  key: null,
  keyPair: Promise.resolve({ secretKey: Buffer.alloc(64) })
})

const wrote: boolean = await db.put('Contact/r1', { firstName: 'Jane' })
const receipt: Receipt | null = await db.put('r1', { firstName: 'Jane' }, { receipt: true })
const entry: Entry<string, Contact> | null = await db.get('Contact/r1')
const value: Stored<Contact> | undefined = entry?.value
const stamp: string | undefined = (value satisfies (Contact & Read) | undefined)?._timestamp
if (value !== undefined) await db.put('Contact/r1', { ...value, firstName: 'Joan' })
await db.put(
  'r1',
  { firstName: 'J' },
  { cas: (prev, next) => prev.value.firstName !== next.value?.firstName }
)

for await (const each of db.createReadStream({ gte: 'a', lt: 'b' }, { reverse: true, limit: 3 })) {
  const name: string = each.value.firstName
  void name
}
for await (const each of db.createHistoryStream({ live: true, gte: -5 })) {
  const change: HistoryEntry<string, Contact> = each
  void change
}
const [first] = await db.getMany(['a', 'b'])
const absent: Entry<string, Contact> | null | undefined = first

const batch = db.batch()
await batch.put('a', { firstName: 'A' })
await batch.flush()

const sub = db.sub<string, Buffer>('files', { valueEncoding: 'binary' })
await sub.put('a', Buffer.from('x'))
const bytes: Buffer | undefined = (await sub.get('a'))?.value
const old = db.checkout(3)

const stream: ReplicationStream = db.replicate(true, { live: false, userData: Buffer.alloc(3) })
db.replicate(new Duplex(), { isInitiator: true })
db.on('update', (from: number, to: number) => void (to - from))
db.on('peer-error', (error, where) => void [error.message, where.userData])
db.on('writer', ({ key, added }) => void [key.length, added])
const status: Status = db.status()
const stats: Stats = db.stats
db.on('diverged', (found) => {
  if ('ours' in found) void [found.ours.equals(found.theirs), found.peer?.userData]
  else void [found.feed.length, found.length]
})
const feed: Feed | null = db.local
const block: { length: number } | undefined = await feed?.append(Buffer.from('x'))
await db.flush({ timeout: 1000, signal: AbortSignal.timeout(3) })

const applied = new Autobee<Buffer, { put?: string; grant?: string }>(store, null, {
  valueEncoding: 'json',
  optimistic: true,
  async apply(nodes, view, host) {
    for (const { key, value, batch } of nodes) {
      if (host.genesis && value.grant) await host.addWriter(value.grant, { isIndexer: false })
      if (value.put && batch.end === 0) await view.put(key, { put: value.put })
    }
    const writes = view.write()
    writes.tryDelete(Buffer.from('x'))
    await writes.flush()
    // @ts-expect-error a number of this replica
    void view.version
  },
  update(view, changes) {
    const moved: number | undefined = changes.get('view')?.to
    void moved
  }
})
const appended: Receipt = await applied.append([{ put: 'a' }, { grant: 'ab' }], { optimistic: true })
const { waitingFor, reason } = applied.finality()
const { differs } = await applied.verify({ replay: true })
applied.on('interrupt', (why) => void [why, appended, waitingFor, reason, differs?.key, applied.stats?.undos])
applied.on('finalized', (length: number) => void length)
// @ts-expect-error not a value of this database
await applied.append({ putt: 'a' })

try {
  await db.ready()
} catch (error) {
  if (error instanceof MultiHyperbeeError) {
    const code: ErrorCode = error.code
    const versions: (string | undefined)[] = [
      error.usVersion,
      error.themVersion,
      error.usClient,
      error.themClient
    ]
    void [code, versions]
  }
}

// @ts-expect-error a path or a Store
new MultiHyperbee(3)
// @ts-expect-error a name of an encoding
new MultiHyperbee('x', { keyEncoding: 'utf-9' })
// @ts-expect-error not one of the two
new MultiHyperbee('x', { writers: 'all' })
// @ts-expect-error a value of this database
await db.put('k', { lastName: 'Doe' })
// @ts-expect-error a value is needed
await db.put('k')
// @ts-expect-error what is read may be absent
entry.value.firstName.length
// @ts-expect-error only with receipt: true
const noReceipt: Receipt = await db.put('k', { firstName: 'x' })
// @ts-expect-error a snapshot is read only
await old.put('k', { firstName: 'x' })
// @ts-expect-error before ready there is none
db.key.toString('hex')
// @ts-expect-error it is told which side begins, or is given a stream
db.replicate()
// @ts-expect-error no such event
db.on('updates', () => {})
// @ts-expect-error feeds are got from a store
new Feed()
// @ts-expect-error no such code
new MultiHyperbeeError('ERR_OTHER', 'x')
// @ts-expect-error read only
db.version = 3
// @ts-expect-error a number of milliseconds
await db.flush({ timeout: '1s' })

void [joined, autobee, shared, wrote, receipt, stamp, absent, bytes, stream, status, stats, block, noReceipt]
