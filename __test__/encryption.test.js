'use strict'

const test = require('node:test')
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { execFile } = require('node:child_process')
const { promisify } = require('node:util')
const { MultiHyperbee, collect, connect, converge, directory, open } = require('./helpers.js')
const { Store } = require('..')

const KEY = Buffer.alloc(32, 1)
const refused = { code: 'ERR_ENCRYPTION_KEY' }

/** Reads every file of a folder as one. */
function files(folder) {
  const all = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
  return Buffer.concat(all.map((file) => fs.readFileSync(path.join(file.parentPath ?? file.path, file.name))))
}

test('a database opens with its encryption key, or a promise of it, and with nothing else', async (t) => {
  const folder = directory(t)
  const db = await open(t, folder, { encryptionKey: Promise.resolve(KEY) })
  assert.equal(db.encrypted, true)
  await db.put('needle-in-a-key', { text: 'needle-in-a-value' })
  await db.close()
  for (const encryptionKey of [Buffer.alloc(32, 2), undefined]) {
    const other = new MultiHyperbee(folder, { encryptionKey, encrypted: encryptionKey ? undefined : false })
    await assert.rejects(other.ready(), refused)
    await other.close()
  }
  const again = await open(t, folder, { encryptionKey: KEY, encrypted: true })
  assert.equal((await again.get('needle-in-a-key')).value.text, 'needle-in-a-value')
  assert.deepEqual(
    (await collect(again.createReadStream())).map(({ key }) => key),
    ['needle-in-a-key']
  )
  await again.close()
  assert.equal(files(folder).includes('needle'), false)
})

test('a key for a database that is not encrypted is refused; so is none where encryption is asked for', async (t) => {
  const folder = directory(t)
  const db = await open(t, folder, { encrypted: false })
  assert.equal(db.encrypted, false)
  await db.close()
  const superfluous = new MultiHyperbee(folder, { encryptionKey: KEY })
  await assert.rejects(superfluous.ready(), refused)
  await superfluous.close()
  const missing = new MultiHyperbee(':memory:', { encrypted: true })
  await assert.rejects(missing.ready(), refused)
  await missing.close()
})

test('what is no key is refused at once, or when its promise is kept', async () => {
  const options = { code: 'ERR_OPTIONS' }
  for (const encryptionKey of ['secret', Buffer.alloc(31), 5]) {
    assert.throws(() => new MultiHyperbee(':memory:', { encryptionKey }), options)
    assert.throws(() => new Store(':memory:', { encryptionKey }), options)
  }
  assert.throws(() => new MultiHyperbee(':memory:', { encryptionKey: KEY, encrypted: false }), options)
  assert.throws(() => new MultiHyperbee(':memory:', { encrypted: 'yes' }), options)
  const late = new MultiHyperbee(':memory:', { encryptionKey: Promise.resolve('secret') })
  await assert.rejects(late.ready(), options)
  await late.close()
})

test("a store's key is that of its databases that do not say otherwise", async (t) => {
  const store = new Store(':memory:', { encryptionKey: KEY })
  t.after(() => store.close())
  const [one, two, three] = [
    new MultiHyperbee(store, { name: 'one' }),
    new MultiHyperbee(store.namespace('n'), { name: 'two', encryptionKey: Buffer.alloc(32, 2) }),
    new MultiHyperbee(store, { name: 'three', encrypted: false })
  ]
  await Promise.all([one, two, three].map((db) => db.ready()))
  assert.deepEqual([one.encrypted, two.encrypted, three.encrypted], [true, true, false])
})

test('who joins with the invite has the key; who joins with another is told so', async (t) => {
  const db = await open(t, ':memory:', { encryptionKey: KEY })
  await db.put('a', { n: 1 })
  const guest = MultiHyperbee.join(':memory:', await db.createInvite())
  t.after(() => guest.close())
  await guest.ready()
  connect(db, guest)
  await guest.waitForWritable({ timeout: 20_000 })
  await converge(db, guest)
  assert.equal((await guest.get('a')).value.n, 1)
  const wrong = await open(t, ':memory:', { key: db.key, encryptionKey: Buffer.alloc(32, 2) })
  const told = new Promise((resolve) => wrong.on('error', resolve))
  connect(db, wrong)
  assert.equal((await told).code, 'ERR_ENCRYPTION_KEY')
  assert.equal(await wrong.get('a'), null)
})

/** Refusals of all kinds, printed as a user would print them; and what nobody listens to. */
const PRINTS = `
  const MultiHyperbee = require(${JSON.stringify(path.join(__dirname, '..'))})
  const encryptionKey = Buffer.alloc(32, 1)
  const folder = process.argv[1]
  const tell = (promise) => promise.then(() => console.error('accepted'), (error) => console.error(error))
  const main = async () => {
    const db = new MultiHyperbee(folder, { encryptionKey })
    await db.put('needle-in-a-key', { text: 'needle-in-a-value' })
    const circle = { text: 'needle-in-a-value' }
    circle.circle = circle
    for (const value of ['needle-in-a-value', 7, [circle], circle, { text: 'needle-in-a-value'.repeat(1 << 20) }]) {
      await tell((async () => db.put('needle-in-a-key', value))())
    }
    await tell((async () => db.put('needle-in-a-key'.repeat(200), {}))())
    await tell((async () => db.del('needle-in-a-key', { cas: () => { throw new TypeError('refused') } }))())
    await tell((async () => db.checkout(99).get('needle-in-a-key'))())
    console.error(db, db.stats, db.status(), await db.getHeader())
    await db.close()
    await tell((async () => db.get('needle-in-a-key'))())
    const apply = async (nodes, view) => { await view.put('needle-in-a-key', nodes[0].value); throw new Error('apply') }
    const bee = new MultiHyperbee(folder, null, { name: 'apply', encryptionKey, apply, valueEncoding: 'utf-8' })
    await tell(bee.append('needle-in-a-value'))
    await tell(bee.update())
    console.error(bee, bee.status())
    await bee.close()
    const other = new MultiHyperbee(folder, { encryptionKey: Buffer.alloc(32, 2) })
    await tell(other.ready())
    await other.close()
  }
  main()`

test('what is printed of an encrypted database shows neither keys nor values', async (t) => {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['-e', PRINTS, directory(t)])
  assert.equal(stdout, '')
  assert.ok(stderr.split('ERR_').length > 6, stderr)
  for (const encoding of ['utf8', 'hex', 'base64']) {
    const needle = Buffer.from('needle-in-a-').toString(encoding)
    assert.equal(stderr.includes(needle), false, `${encoding}: ${stderr}`)
  }
})
