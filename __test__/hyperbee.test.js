'use strict'

// What Hyperbee 2 does, call by call, over a database of plain values. `deviates` says what is deliberately different
// here and why; then the check is of what this package does instead.

const test = require('node:test')
const assert = require('node:assert/strict')
const { MultiHyperbee, open, collect } = require('./helpers.js')

const keysOf = (entries) => entries.map((entry) => entry.key)
const ABC = async (db) => {
  for (const key of ['a', 'b', 'c']) await db.put(key, key.toUpperCase())
}

const BEHAVIOURS = [
  {
    name: 'get: an entry { seq, key, value }, null when absent',
    async check(db) {
      await db.put('a', 'A')
      const { seq, key, value } = await db.get('a')
      assert.deepEqual([seq, key, value], [db.version, 'a', 'A'])
      assert.equal(await db.get('x'), null)
    }
  },
  {
    name: 'get: encodings per call',
    async check(db) {
      await db.put('a', 'A')
      assert.deepEqual(
        (await db.get(Buffer.from('a'), { keyEncoding: 'binary', valueEncoding: 'binary' })).value,
        Buffer.from('A')
      )
    }
  },
  {
    name: 'getBySeq: { key, value }, null when missing',
    async check(db) {
      await ABC(db)
      assert.deepEqual(await db.getBySeq(2), { key: 'b', value: 'B' })
      assert.equal(await db.getBySeq(9), null)
      assert.equal(await db.getBySeq(-1), null)
    }
  },
  {
    name: 'put: what it returns',
    deviates: 'Hyperbee returns undefined; here whether it wrote',
    async check(db) {
      assert.equal(await db.put('a', 'A'), true)
    }
  },
  {
    name: 'put: the same value again',
    deviates: 'Hyperbee writes it again (alwaysDuplicate); here an unchanged value never travels',
    async check(db) {
      await db.put('a', 'A')
      assert.equal(await db.put('a', 'A'), false)
    }
  },
  {
    name: 'put: cas is called only if the key exists; a falsy answer writes nothing; it may be async',
    async check(db) {
      const calls = []
      const cas = async (prev, next) => calls.push([prev.value, next.value]) > 1
      await db.put('a', '1', { cas })
      await db.put('a', '2', { cas })
      assert.equal((await db.get('a')).value, '1')
      await db.put('a', '3', { cas })
      assert.equal((await db.get('a')).value, '3')
      assert.deepEqual(calls, [
        ['1', '2'],
        ['1', '3']
      ])
    }
  },
  {
    name: 'del: a missing key writes nothing and asks no cas; cas is given { key, value: null }',
    async check(db) {
      let next = null
      const cas = (prev, after) => ((next = after), true)
      await db.del('x', { cas })
      assert.deepEqual([next, db.version], [null, 0])
      await db.put('a', 'A')
      await db.del('a', { cas })
      assert.deepEqual([next.key, next.value, await db.get('a')], ['a', null, null])
    }
  },
  {
    name: 'batch: put, del, get, getBySeq-less reads, peek and streams see its own writes; flush is atomic',
    deviates:
      'a batch has no getBySeq, createRangeIterator, lock and toBlocks: what is not flushed has no seq, and blocks are signed by the store',
    async check(db) {
      await ABC(db)
      const batch = db.batch()
      await batch.put('d', 'D')
      await batch.del('a')
      assert.equal((await batch.get('d')).value, 'D')
      assert.equal(await batch.get('a'), null)
      assert.equal((await batch.peek()).key, 'b')
      assert.deepEqual(keysOf(await collect(batch.createReadStream())), ['b', 'c', 'd'])
      assert.equal((await db.peek()).key, 'a')
      await batch.flush()
      assert.deepEqual(keysOf(await collect(db.createReadStream())), ['b', 'c', 'd'])
    }
  },
  {
    name: 'batch: takes the write lock at its first write until flush or close; an empty flush releases it',
    async check(db) {
      const batch = db.batch()
      await batch.put('a', 'batch')
      let written = false
      const put = db.put('a', 'put').then(() => (written = true))
      await new Promise((resolve) => setTimeout(resolve, 20))
      assert.equal(written, false)
      await batch.flush()
      await put
      assert.equal((await db.get('a')).value, 'put')
      await db.batch().flush()
      await db.put('a', 'after')
    }
  },
  {
    name: 'batch: close drops what was not flushed; a batch that ended refuses',
    async check(db) {
      const batch = db.batch()
      await batch.put('a', 'A')
      await batch.close()
      assert.equal(await db.get('a'), null)
      await assert.rejects(batch.put('a', 'A'), { code: 'ERR_CLOSED' })
    }
  },
  {
    name: 'peek: the first entry of a range, or null',
    async check(db) {
      await ABC(db)
      assert.equal((await db.peek({ gt: 'a' })).key, 'b')
      assert.equal((await db.peek({ gt: 'a' }, { reverse: true })).key, 'c')
      assert.equal(await db.peek({ gt: 'c' }), null)
    }
  },
  {
    name: 'createReadStream: key byte order, gt beats gte, lt beats lte, limit, reverse, a snapshot at its start',
    async check(db) {
      await ABC(db)
      const keys = async (...args) => keysOf(await collect(db.createReadStream(...args))).join('')
      assert.equal(await keys({ gt: 'a', gte: 'a', lt: 'c', lte: 'c' }), 'b')
      assert.equal(await keys({}, { reverse: true, limit: 2 }), 'cb')
      const stream = db.createReadStream()
      await db.put('d', 'D')
      assert.equal(keysOf(await collect(stream)).join(''), 'abc')
    }
  },
  {
    name: 'createReadStream: an AbortSignal ends it',
    async check(db) {
      await assert.rejects(collect(db.createReadStream({}, { signal: AbortSignal.abort() })), {
        code: 'ERR_ABORTED'
      })
    }
  },
  {
    name: 'createHistoryStream: put and del by seq, negative bounds relative to the end, reverse, limit',
    async check(db) {
      await ABC(db)
      await db.del('b')
      const seen = async (options) =>
        (await collect(db.createHistoryStream(options))).map(({ type, seq, key }) => `${type} ${seq} ${key}`)
      assert.deepEqual(await seen(), ['put 1 a', 'put 2 b', 'put 3 c', 'del 4 b'])
      assert.deepEqual(await seen({ gte: -1 }), ['del 4 b'])
      assert.deepEqual(await seen({ gt: -3, lt: -1 }), ['put 3 c'])
      assert.deepEqual(await seen({ reverse: true, limit: 1 }), ['del 4 b'])
    }
  },
  {
    name: 'createHistoryStream: not both live and reverse',
    async check(db) {
      const message = 'Cannot have both live and reverse enabled'
      assert.throws(() => db.createHistoryStream({ live: true, reverse: true }), { message })
    }
  },
  {
    name: 'createDiffStream: { left, right } by a version or a snapshot; what has the same seq is skipped',
    async check(db) {
      await ABC(db)
      const before = db.snapshot()
      await db.put('b', '2')
      await db.del('c')
      for (const other of [before, before.version]) {
        const pairs = await collect(db.createDiffStream(other))
        assert.deepEqual(
          pairs.map(({ left, right }) => [left?.value, right?.value]),
          [
            ['2', 'B'],
            [undefined, 'C']
          ]
        )
      }
    }
  },
  {
    name: 'createDiffStream: reverse',
    deviates: 'Hyperbee has none',
    async check(db) {
      await ABC(db)
      const pairs = await collect(db.createDiffStream(0, { reverse: true }))
      assert.deepEqual(
        pairs.map(({ left }) => left.key),
        ['c', 'b', 'a']
      )
    }
  },
  {
    name: 'watch: an async iterator of [current, previous], coalescing, with an update event and close',
    async check(db) {
      const watcher = db.watch()
      await ABC(db)
      const [current, previous] = (await watcher.next()).value
      assert.deepEqual([current.version, previous.version], [3, 0])
      await watcher.close()
      assert.equal((await watcher.next()).done, true)
    }
  },
  {
    name: 'watch: not on a checkout or a snapshot',
    async check(db) {
      assert.throws(() => db.snapshot().watch(), { code: 'ERR_OPTIONS' })
      assert.throws(() => db.checkout(0).watch(), { code: 'ERR_OPTIONS' })
    }
  },
  {
    name: 'watch: on a sub',
    deviates: 'Hyperbee watches the main instance only',
    async check(db) {
      const watcher = db.sub('s').watch()
      await db.sub('s').put('a', 'A')
      assert.equal((await watcher.next()).done, false)
      await watcher.close()
    }
  },
  {
    name: 'getAndWatch: node is kept current',
    async check(db) {
      const watcher = await db.getAndWatch('a')
      await Promise.all([new Promise((resolve) => watcher.once('update', resolve)), db.put('a', 'A')])
      assert.equal(watcher.node.value, 'A')
      await watcher.close()
    }
  },
  {
    name: 'checkout and snapshot: read-only, of their version',
    async check(db) {
      await ABC(db)
      const views = [db.checkout(1), db.snapshot().checkout(1)]
      for (const view of views) {
        assert.deepEqual(keysOf(await collect(view.createReadStream())), ['a'])
        assert.equal(view.writable, false)
        assert.equal(view.put, undefined)
      }
    }
  },
  {
    name: 'checkout of the future',
    deviates:
      'Hyperbee waits for the blocks; here versions are this replica’s own past, so there is nothing to wait for',
    async check(db) {
      assert.throws(() => db.checkout(1), { code: 'ERR_VERSION_GONE' })
    }
  },
  {
    name: 'version: of an empty database',
    deviates:
      'Hyperbee begins with its header at 1; here the first write is version 1 and the empty database 0',
    async check(db) {
      assert.equal(db.version, 0)
      assert.equal(await db.checkout(0).peek(), null)
    }
  },
  {
    name: 'sub: nests, with a separator and encodings of its own; ranges, batches and streams keep to it',
    async check(db) {
      const sub = db.sub('x', { sep: '!' }).sub(Buffer.from('y'), { sep: '!', valueEncoding: 'binary' })
      await sub.put('a', Buffer.from([1]))
      const batch = sub.batch()
      await batch.put('b', Buffer.from([2]))
      await batch.flush()
      await db.put('x!z', 'outside')
      assert.deepEqual(keysOf(await collect(sub.createReadStream())), ['a', 'b'])
      assert.deepEqual(keysOf(await collect(sub.createReadStream({ gt: 'a' }))), ['b'])
      assert.equal((await db.get('x!y!a')).value, '\x01')
    }
  },
  {
    name: 'getHeader',
    async check(db) {
      assert.equal((await db.getHeader()).protocol, 'multi-hyperbee')
    }
  },
  {
    name: 'isHyperbee is isMultiHyperbee',
    deviates:
      'it asks whether an object is one, not whether a core’s header says so: a feed is not a bee here',
    async check(db) {
      assert.equal(MultiHyperbee.isMultiHyperbee(db), true)
      assert.equal(MultiHyperbee.isMultiHyperbee(db.feed), false)
    }
  },
  {
    name: 'close: ends watchers and batches, and is idempotent',
    async check(db) {
      const next = db.watch().next()
      const batch = db.batch()
      await batch.put('a', 'A')
      await Promise.all([db.close(), db.close()])
      assert.equal((await next).done, true)
      await assert.rejects(batch.flush(), { code: 'ERR_CLOSED' })
    }
  },
  {
    name: 'custom codecs: { encode, decode } and compact-encoding’s, in a sub and per call',
    async check(db) {
      const { uint, string } = require('compact-encoding')
      const reversed = {
        encode: (text) => Buffer.from([...text].reverse().join('')),
        decode: (bytes) => [...bytes.toString()].reverse().join('')
      }
      const sub = db.sub('n', { keyEncoding: string, valueEncoding: uint })
      await sub.put('k', 300)
      assert.equal((await sub.get('k')).value, 300)
      await db.put('k', 'abc', { valueEncoding: reversed })
      assert.equal((await db.get('k')).value, 'cba')
      assert.equal((await db.get('k', { valueEncoding: reversed })).value, 'abc')
      assert.equal((await sub.peek()).key, 'k')
    }
  }
]

for (const { name, deviates, check } of BEHAVIOURS) {
  test(`Hyperbee: ${name}${deviates === undefined ? '' : ` [deviates: ${deviates}]`}`, async (t) => {
    await check(await open(t, ':memory:', { valueEncoding: 'utf-8' }))
  })
}
