'use strict'

const { Readable } = require('node:stream')
const { MultiHyperbeeError } = require('./errors.js')
const { createReadStream } = require('./streams.js')
const { nativeRange } = require('./range.js')
const { ANY, ABSENT, exactly } = require('./packed.js')
const { readEntry } = require('./reader.js')
const { merged } = require('./merge-handler.js')
const { isGenerated, generate, expected } = require('./gen-diff.js')
const { zipped, within } = require('./overlay.js')

/**
 * Writes that take effect together. It takes the handle's write lock at its first write and keeps it until `flush` or
 * `close`; its reads see its own writes.
 */
class Batch {
  constructor(session, codec) {
    this._session = session
    this._codec = codec
    this._lock = null
    this._ops = []
    /** The last op per key, by the key's bytes as latin1. */
    this._own = new Map()
    this._tail = Promise.resolve()
    this._ended = null
    /** How the session ends it. */
    this._entry = { end: (error) => this._end(error) }
    session.open.add(this._entry)
  }

  put(key, value, options) {
    return this._serially(async () => {
      const codec = this._codec.with(options)
      const write = codec.encodeWrite(codec.encodeKey(key), value)
      const entry = () => ownEntry(codec, key, write)
      const pack = (packer, expect) => {
        if (write.register !== null) packer.register(write.key, write.register, expect)
        else packer.put(write.key, write.text, write.base, write.diff, expect)
      }
      const generated = isGenerated(this._session, write) ? write : null
      return this._add({
        codec,
        key,
        value,
        bytes: write.key,
        entry,
        pack,
        generated,
        cas: options?.cas,
        expect: ANY
      })
    })
  }

  del(key, options) {
    return this._serially(async () => {
      const codec = this._codec.with(options)
      const bytes = codec.encodeKey(key)
      const pack = (packer, expect) => packer.delete(bytes, expect)
      const entry = () => null
      return this._add({ codec, key, value: null, bytes, entry, pack, cas: options?.cas, expect: ANY })
    })
  }

  get(key, options) {
    return this._serially(() => this._get(this._codec.with(options), key))
  }

  async peek(range, options) {
    for await (const entry of this.createReadStream(range, { ...range, ...options, limit: 1 })) return entry
    return null
  }

  createReadStream(range, options) {
    return Readable.from(this._merged(range, options ?? range))
  }

  /** Commits. @returns {Promise<boolean>} whether anything changed */
  flush() {
    return this._serially(async () => {
      const keys = this._ops.map((op) => op.bytes)
      try {
        if (!(await this._commit())) return false
      } finally {
        this._end(flushed())
      }
      await merged(this._session, keys)
      return true
    })
  }

  async close() {
    this._end(flushed())
  }

  _serially(act) {
    if (this._ended !== null) return Promise.reject(this._ended)
    const result = this._tail.then(async () => {
      if (this._ended !== null) throw this._ended
      return act()
    })
    this._tail = result.catch(() => {})
    return result
  }

  async _add(op) {
    if (this._lock === null) await this._acquire()
    if (op.cas && !(await this._allowed(op))) return false
    if (op.generated && !(await this._generate(op))) return false
    this._ops.push(op)
    this._own.set(op.bytes.toString('latin1'), op)
    return true
  }

  async _acquire() {
    const lock = await this._session.queue.lock()
    if (this._ended === null) {
      this._lock = lock
      return
    }
    lock.release()
    throw this._ended
  }

  /** Asks the op's `cas`, and lets the commit depend on what it saw. */
  async _allowed(op) {
    const own = this._own.get(op.bytes.toString('latin1'))
    const prev = await this._get(op.codec, op.key)
    if (own === undefined || own === op) op.expect = prev === null ? ABSENT : exactly(prev.seq)
    if (prev === null) return op.value !== null
    return Boolean(await op.cas(prev, { seq: prev.seq + 1, key: op.key, value: op.value }))
  }

  /** Lets the user's `genDiff` make the op's diff, against the batch's own state. */
  async _generate(op) {
    const { codec, key, value, generated: write } = op
    const native = await this._session.ready()
    const isOwn = this._own.has(op.bytes.toString('latin1'))
    const prev = await this._get(codec, key)
    const made = await generate(this._session, native, codec, {
      key,
      write: { ...write, base: isOwn ? '' : write.base },
      value,
      prev
    })
    if (made === null) return false
    write.diff = made.diff
    if (!isOwn) op.expect = expected(prev, Boolean(op.cas) || made.current)
    return true
  }

  async _get(codec, key) {
    const native = await this._session.ready()
    const own = this._own.get(codec.encodeKey(key).toString('latin1'))
    if (own === undefined) return readEntry(native, codec, key, null)
    const value = own.entry()
    return value === null
      ? null
      : { seq: native.version() + 1 + this._ops.indexOf(own), key, value: value.value }
  }

  async _commit() {
    while (this._ops.length > 0) {
      const pack = (packer) =>
        packer.batch(this._ops.length, () => this._ops.forEach((op) => op.pack(packer, op.expect)))
      const result = await this._lock.submit(pack)
      if (result.kind !== 'conflict') return result.kind === 'yes'
      await this._askAgain()
    }
    return false
  }

  /** A peer's write came between a `cas` and the commit. */
  async _askAgain() {
    const ops = this._ops
    this._ops = []
    this._own.clear()
    for (const op of ops) {
      op.expect = ANY
      await this._add(op)
    }
  }

  _end(reason) {
    if (this._ended !== null) return
    this._ended = reason
    this._session.open.delete(this._entry)
    this._lock?.release()
    this._ops = []
    this._own.clear()
  }

  /** The database's entries with our own over them, in key order. */
  async *_merged(range, options) {
    await this._tail
    if (this._ended !== null) throw this._ended
    await this._session.ready()
    const codec = this._codec.with(options)
    const native = nativeRange(codec, range, options)
    const { limit = Infinity, ...whole } = native
    const own = [...this._own.values()].filter((op) => within(op.bytes, native))
    const sign = native.reverse ? -1 : 1
    own.sort((a, b) => sign * Buffer.compare(a.bytes, b.bytes))
    let left = limit
    const stored = createReadStream(this._session, codec, whole, null, options)
    for await (const [entry, op] of zipped(stored, own, (one) => codec.encodeKey(one.key), sign)) {
      const found =
        op === null ? entry : await this._get(codec, codec.decodeKey(op.bytes, 0, op.bytes.length))
      if (found === null) continue
      if (left-- <= 0) return
      yield found
    }
  }
}

/** What a read of the batch's own write gives: as it will be stored, without the timestamps it will get. */
function ownEntry(codec, key, write) {
  if (write.register !== null) return { value: codec.valueEncoding.decode(Buffer.from(write.register)) }
  const value = JSON.parse(write.text)
  value._objectId = write.key.toString(codec.textIds ? 'utf8' : 'hex')
  return { value }
}

function flushed() {
  return new MultiHyperbeeError('ERR_CLOSED', 'this batch was flushed or closed: begin another with batch()')
}

module.exports = { Batch }
