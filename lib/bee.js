'use strict'

const { View } = require('./view.js')
const { Batch } = require('./batch.js')
const { translated } = require('./errors.js')
const { ANY, ABSENT, exactly, FLAG_REGISTER } = require('./packed.js')
const { readEntry } = require('./reader.js')
const { merged } = require('./merge-handler.js')
const { isGenerated, putGenerated } = require('./gen-diff.js')

/** The key-value API, reads and writes: what `db` is in merge mode, and each of its subs. */
class Bee extends View {
  get writable() {
    return this._session.state === 'open' && (this._session.native().rights() & 1) !== 0
  }

  /** @returns {Promise<boolean | { key: Buffer, length: number } | null>} whether it wrote; its receipt if asked for */
  async put(key, value, options) {
    this._session.accept()
    const codec = this._codec.with(options)
    const write = codec.encodeWrite(codec.encodeKey(key), value)
    if (isGenerated(this._session, write)) {
      const put = { key, write, value, cas: options?.cas, pack: packWrite }
      return this._written(putGenerated(this._session, codec, put), write.key, options)
    }
    const pack = (packer, expect) => packWrite(packer, write, expect)
    return this._written(this._write(codec, key, value, pack, options), write.key, options)
  }

  async del(key, options) {
    this._session.accept()
    const codec = this._codec.with(options)
    const bytes = codec.encodeKey(key)
    const pack = (packer, expect) => packer.delete(bytes, expect)
    return this._written(this._write(codec, key, null, pack, options), bytes, options)
  }

  /**
   * The concurrent diffs behind the current value.
   *
   * @returns {Promise<{ path: (string | number)[], winner: object, losers: object[], values: any[] }[]>}
   */
  async conflicts(key, options) {
    const native = await this._session.ready()
    const codec = this._codec.with(options)
    const bytes = codec.encodeKey(key)
    return translated(() => native.conflicts(bytes)).map(({ path, claims }) => {
      const [winner, ...losers] = claims.map(({ writer, seq }) => ({ writer, seq }))
      return { path, winner, losers, values: claims.map((claim) => claimed(codec, claim)) }
    })
  }

  batch(options) {
    this._session.accept()
    return new Batch(this._session, this._codec.with(options))
  }

  sub(prefix, options) {
    this._session.accept()
    return new Bee(this._session, this._subCodec(prefix, options))
  }

  /** Queues a write before anything is awaited: the order of calls is the order of writes. */
  _write(codec, key, value, pack, options) {
    if (options?.cas) return this._compareAndSwap(codec, key, value, pack, options.cas)
    return this._session.queue.write((packer) => pack(packer, ANY))
  }

  /** What a caller is told of a write of the encoded `key`, once it is in the view. */
  async _written(writing, key, options) {
    const result = await writing
    if (result.kind === 'yes') await merged(this._session, [key])
    if (!options?.receipt) return result.kind === 'yes'
    if (result.kind !== 'yes') return null
    return { key: this._session.info.local, length: result.length }
  }

  /** Reads, asks `cas`, writes on condition that nothing came between; again if something did. */
  async _compareAndSwap(codec, key, value, pack, cas) {
    const lock = await this._session.queue.lock()
    try {
      for (;;) {
        const native = await this._session.ready()
        const prev = readEntry(native, codec, key, null)
        // As in Hyperbee: nothing to delete, nobody to ask.
        if (prev === null && value === null) return { kind: 'no' }
        const next = { seq: native.version() + 1, key, value }
        if (prev !== null && !(await cas(prev, next))) return { kind: 'no' }
        const expect = prev === null ? ABSENT : exactly(prev.seq)
        const result = await lock.submit((packer) => pack(packer, expect))
        if (result.kind !== 'conflict') return result
      }
    } finally {
      lock.release()
    }
  }
}

/** What a diff says about a path; undefined: that there is nothing. */
function claimed(codec, { text, register }) {
  if (text != null) return JSON.parse(text)
  return register == null ? undefined : codec.decodeValue(FLAG_REGISTER, register)
}

function packWrite(packer, write, expect) {
  if (write.register !== null) packer.register(write.key, write.register, expect)
  else packer.put(write.key, write.text, write.base, write.diff, expect)
}

module.exports = { Bee, packWrite }
