'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const net = require('node:net')
const path = require('node:path')
const { once } = require('node:events')
const Hyperswarm = require('hyperswarm')
const createTestnet = require('hyperdht/testnet')
const { MultiHyperbee, open, connect, connectTcp, converge, directory } = require('./helpers.js')

const { Store } = MultiHyperbee
const WAIT = { timeout: 20_000 }

const joiner = (t, db) => open(t, ':memory:', { key: db.key })

/** As `open`, for a database that is there already. */
async function opened(t, db) {
  const hold = setInterval(() => {}, 1000)
  t.after(() => clearInterval(hold))
  t.after(() => db.close())
  await db.ready()
  return db
}

test('request and accept, over a socket', async (t) => {
  const a = await open(t)
  const b = await joiner(t, a)
  const asked = once(a, 'access-request')
  await connectTcp(t, a, b)
  await b.requestAccess({ name: 'phone', n: [1, null] }, WAIT)
  const [request] = await asked
  assert.deepEqual(request.key, b.local.key)
  assert.deepEqual(request.userData, { name: 'phone', n: [1, null] })
  assert.equal(b.writable, false)
  const writable = once(b, 'writable')
  assert.equal(await request.accept({ isIndexer: true }), true)
  await Promise.all([b.waitForWritable(WAIT), writable])
  assert.equal(b.isIndexer, true)
  await b.put('k', { from: 'b' })
  await converge(a, b)
  await b.requestAccess() // nothing to ask
})

test('a request made before any connection, and heard before anybody listens', async (t) => {
  const a = await open(t)
  const b = await joiner(t, a)
  const asking = b.requestAccess(undefined, WAIT)
  await connectTcp(t, a, b)
  await asking
  const requests = []
  a.on('access-request', (request) => {
    requests.push(request.userData)
    request.accept()
  })
  await b.waitForWritable(WAIT)
  assert.deepEqual(requests, [undefined])
})

test('reject: told to whoever waits, then and later; asking again raises it again', async (t) => {
  const a = await open(t)
  const b = await joiner(t, a)
  let rejected = 0
  a.on('access-request', async (request) => {
    if (request.userData === 'please') return request.accept()
    assert.equal(await request.reject(), true)
    assert.equal(await request.reject(), false)
    rejected++
  })
  await connectTcp(t, a, b)
  await b.requestAccess('me', WAIT).catch((error) => assert.equal(error.code, 'ERR_NOT_PERMITTED'))
  await assert.rejects(b.waitForWritable(WAIT), { code: 'ERR_NOT_PERMITTED', message: /rejected/ })
  assert.equal(rejected, 1)
  await b.requestAccess('please', WAIT)
  await b.waitForWritable(WAIT)
})

test('a wait for an answer ends by timeout and by signal, and takes the request back', async (t) => {
  const a = await open(t)
  const b = await joiner(t, a)
  a.on('access-request', () => assert.fail('it was taken back'))
  await assert.rejects(b.requestAccess(null, { timeout: 20 }), { code: 'ERR_TIMEOUT' })
  const signal = AbortSignal.timeout(20)
  await assert.rejects(b.requestAccess(null, { signal }), { code: 'ERR_ABORTED' })
  connect(a, b)
  await converge(a, b)
})

test('userData that is no JSON or too large is refused', async (t) => {
  const a = await open(t)
  const b = await joiner(t, a)
  const circular = {}
  circular.self = circular
  for (const wrong of [circular, () => {}, 1n]) {
    await assert.rejects(b.requestAccess(wrong), { code: 'ERR_INVALID_VALUE' })
  }
  await assert.rejects(b.requestAccess('x'.repeat(4095)), { code: 'ERR_VALUE_TOO_LARGE' })
})

test('an invite lets one device in, and the next one not, over a socket', async (t) => {
  const a = await open(t)
  a.on('access-request', () => assert.fail('an invite asks nobody'))
  const invite = await a.createInvite()
  assert.match(invite, /^([a-z0-9]{125}|[a-z0-9]{176})$/)
  const b = await opened(t, MultiHyperbee.join(':memory:', invite))
  assert.deepEqual(b.key, a.key)
  await connectTcp(t, a, b)
  await b.waitForWritable(WAIT)
  await b.put('k', { from: 'b' })
  const c = await opened(t, MultiHyperbee.join(':memory:', invite.toUpperCase(), { name: 'mine' }))
  await connectTcp(t, a, c)
  await assert.rejects(c.waitForWritable(WAIT), { code: 'ERR_NOT_PERMITTED', message: /used up/ })
  assert.equal(c.name, 'mine')
})

test('an invite used by several, for indexers; one that has expired', async (t) => {
  const a = await open(t)
  const many = await a.createInvite({
    uses: Infinity,
    isIndexer: true,
    expires: new Date(Date.now() + 60_000)
  })
  const [b, c] = await Promise.all([1, 2].map(() => opened(t, MultiHyperbee.join(':memory:', many))))
  connect(a, b)
  connect(a, c)
  await Promise.all([b.waitForWritable(WAIT), c.waitForWritable(WAIT)])
  assert.ok(b.isIndexer && c.isIndexer)
  const soon = Date.now() + 300
  const short = await a.createInvite({ expires: soon })
  while (Date.now() <= soon) await new Promise((resolve) => setTimeout(resolve, 50))
  const d = await opened(t, MultiHyperbee.join(':memory:', short))
  connect(a, d)
  await assert.rejects(d.waitForWritable(WAIT), { code: 'ERR_NOT_PERMITTED', message: /expired/ })
})

test('the issuer offline and back: the invite still works', async (t) => {
  const folder = directory(t)
  const first = new MultiHyperbee(path.join(folder, 'a'))
  const invite = await first.createInvite()
  await first.close()
  const b = await opened(t, MultiHyperbee.join(':memory:', invite))
  const other = await joiner(t, b)
  connect(b, other)
  await assert.rejects(b.waitForWritable({ timeout: 200 }), { code: 'ERR_TIMEOUT' })
  const a = await open(t, path.join(folder, 'a'))
  await connectTcp(t, a, b)
  await b.waitForWritable(WAIT)
})

test('what is no invite, what nobody may make, and invites for another database', async (t) => {
  const a = await open(t)
  const b = await joiner(t, a)
  const invite = await a.createInvite()
  for (const wrong of ['', 'hello', invite.slice(1), `${invite}y`, `y${invite.slice(1)}b`, 7, null]) {
    assert.throws(() => MultiHyperbee.join(':memory:', wrong), { code: 'ERR_OPTIONS' }, String(wrong))
  }
  await assert.rejects(b.createInvite(), { code: 'ERR_NOT_PERMITTED' })
  for (const options of [
    { uses: 0 },
    { uses: 1.5 },
    { uses: 2 ** 32 },
    { expires: 'soon' },
    { expires: 60_000 }
  ]) {
    await assert.rejects(a.createInvite(options), { code: 'ERR_OPTIONS' }, JSON.stringify(options))
  }
  const stranger = await open(t)
  await assert.rejects(stranger.requestAccess(null, { invite: 'x' }), { code: 'ERR_OPTIONS' })
  const other = await joiner(t, stranger)
  await assert.rejects(other.requestAccess(null, { invite }), { code: 'ERR_INVALID_KEY' })
})

test('two databases of a store share one socket; a third joins later', async (t) => {
  const stores = [new Store(':memory:'), new Store(':memory:')]
  for (const store of stores) t.after(() => store.close())
  const names = ['one', 'two', 'three']
  const ours = await Promise.all(names.map((name) => open(t, stores[0], { name })))
  const theirs = await Promise.all(ours.map((db) => open(t, stores[1], { key: db.key })))
  for (const db of ours) await db.put('k', { name: db.name })
  const server = net.createServer()
  t.after(() => server.close())
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = net.connect(server.address().port, '127.0.0.1')
  t.after(() => client.destroy())
  const [socket] = await once(server, 'connection')
  t.after(() => socket.destroy())
  const stream = ours[0].replicate(client)
  assert.equal(ours[1].replicate(client), stream)
  theirs[0].replicate(socket)
  theirs[1].replicate(socket)
  await converge(ours[0], theirs[0])
  await converge(ours[1], theirs[1])
  assert.equal(await theirs[2].get('k'), null)
  const arrived = once(theirs[2], 'update')
  assert.equal(ours[2].replicate(client), stream)
  stores[1].replicate(socket)
  await arrived
  assert.equal((await theirs[2].get('k')).value.name, 'three')
})

test('over Hyperswarm, as the README has it', { timeout: 60_000 }, async (t) => {
  const testnet = await createTestnet(3)
  t.after(() => testnet.destroy())
  const [one, two] = [1, 2].map(() => {
    const swarm = new Hyperswarm({ dht: testnet.createNode() })
    t.after(() => swarm.destroy())
    return swarm
  })
  const db = await open(t)
  await db.put('Contact/r1', { firstName: 'Jane' })
  db.on('access-request', (request) => request.accept())
  one.on('connection', (connection) => db.replicate(connection))
  await one.join(db.discoveryKey).flushed()

  const db2 = await joiner(t, db)
  two.on('connection', (connection) => db2.replicate(connection))
  two.join(db2.discoveryKey)
  await db2.requestAccess({ name: 'phone' }, { timeout: 30_000 })
  await db2.waitForWritable({ timeout: 30_000 })
  const { value } = await db2.get('Contact/r1')
  value.lastName = 'Doe'
  await db2.put('Contact/r1', value)
  await converge(db, db2)
  assert.equal((await db.get('Contact/r1')).value.lastName, 'Doe')
})
