'use strict'

const { Readable } = require('node:stream')
const { MultiHyperbeeError } = require('../errors.js')
const { nativeRange } = require('../range.js')
const { View } = require('../view.js')
const { aborted } = require('../wait.js')
const { WriteBatch } = require('./write-batch.js')
const { WorkingBatch } = require('./batch.js')

/**
 * The view inside `apply`: the state before the batch, with what the batch has written over it. Reads take no seq and
 * give none: numbers of versions are each replica's own, and `apply` must do the same on all.
 */
class WorkingView {
  /**
   * @param {{ turn: import('./turn.js').Turn | null }} seat whose turn it is
   * @param {import('../codec.js').Codec} codec
   * @param {import('./overlay.js').Overlay | null} frozen what a snapshot reads
   */
  constructor(seat, codec, frozen = null) {
    this._seat = seat
    this._codec = codec
    this._frozen = frozen
  }

  get keyEncoding() {
    return this._codec.keyEncoding
  }

  get valueEncoding() {
    return this._codec.valueEncoding
  }

  get writable() {
    return this._frozen === null
  }

  async ready() {}

  async close() {}

  async get(key, options) {
    return this.getSync(key, options)
  }

  getSync(key, options) {
    const codec = this._codec.with(options)
    const bytes = this._overlay().read(codec.encodeKey(key))
    return bytes === null ? null : { key, value: codec.valueEncoding.decode(bytes) }
  }

  async getMany(keys, options) {
    if (!Array.isArray(keys)) throw new MultiHyperbeeError('ERR_OPTIONS', 'getMany takes an array of keys')
    return keys.map((key) => this.getSync(key, options))
  }

  async peek(range, options) {
    for (const entry of this._entries(range, { ...range, ...options, limit: 1 })) return entry
    return null
  }

  /** As it is now, whatever is written meanwhile. */
  createReadStream(range, options) {
    const turn = this._turn()
    const { signal } = options ?? range ?? {}
    const stream = Readable.from(this._entries(range, options ?? range), { objectMode: true })
    const end = () => stream.destroy()
    const onabort = () => stream.destroy(aborted(signal, 'reading'))
    turn.open.add({ end })
    if (signal?.aborted) onabort()
    else signal?.addEventListener('abort', onabort)
    stream.once('close', () => signal?.removeEventListener('abort', onabort))
    return stream
  }

  /** What was so when the database was created. */
  async getHeader() {
    const { keyEncoding, valueEncoding } = this
    const metadata = { keyEncoding: keyEncoding.name, valueEncoding: valueEncoding.name }
    return { protocol: 'multi-hyperbee', version: 1, key: this._seat.key, metadata }
  }

  /** Whether that changed anything. What is wrong with the arguments is thrown: nobody need await this. */
  put(key, value, options) {
    const batch = this._begin(options)
    batch.tryPut(key, value)
    return this._written(batch, key, value, options)
  }

  del(key, options) {
    const batch = this._begin(options)
    batch.tryDelete(key)
    return this._written(batch, key, null, options)
  }

  /** Writes that it alone reads before its `flush`. */
  batch(options) {
    return new WorkingBatch(this, this._begin(options), this._codec.with(options))
  }

  /** Writes that nothing reads before its `flush`. */
  write(options) {
    return this._begin(options)
  }

  snapshot(options) {
    return new WorkingView(this._seat, this._codec.with(options), this._overlay().frozen())
  }

  sub(prefix, options) {
    const codec = View.prototype._subCodec.call(this, prefix, options)
    return new WorkingView(this._seat, codec, this._frozen)
  }

  _turn() {
    const { turn } = this._seat
    if (turn !== null) return turn.check()
    const what = 'this is the view of apply, and apply is not running: elsewhere read db.view'
    throw new MultiHyperbeeError('ERR_CLOSED', what)
  }

  _overlay() {
    const { overlay } = this._turn()
    return this._frozen ?? overlay
  }

  _begin(options) {
    const turn = this._turn()
    if (this._frozen === null) return new WriteBatch(turn, this._codec.with(options))
    throw new MultiHyperbeeError('ERR_MODE', 'a snapshot is read-only: write to the view')
  }

  async _written(batch, key, value, options) {
    const codec = this._codec.with(options)
    const bytes = codec.encodeKey(key)
    const next = batch.own(bytes)
    try {
      if (options?.cas) {
        const prev = this.getSync(key, options)
        if (prev !== null && !(await options.cas(prev, { key, value }))) return false
      }
      const before = this._overlay().read(bytes)
      if (before === null ? next === null : next !== null && before.equals(next)) return false
      await batch.flush()
      return true
    } finally {
      batch.close()
    }
  }

  /** Entries of a range, with the overlay as it is now. */
  _entries(range, options) {
    const codec = this._codec.with(options)
    const { limit = Infinity, ...bounds } = nativeRange(codec, range, options)
    return decoded(codec, limit === 0 ? [] : this._overlay().entries(bounds), limit)
  }
}

function* decoded(codec, entries, limit) {
  let left = limit
  for (const [key, value] of entries) {
    yield { key: codec.decodeKey(key, 0, key.length), value: codec.valueEncoding.decode(value) }
    if (--left <= 0) return
  }
}

/** What is this replica's own: what `apply` made of it would differ from replica to replica. */
const OWN_PAST = ['getBySeq', 'getAndWatch']
const OWN_PAST_NOW = ['checkout', 'createHistoryStream', 'createDiffStream', 'watch']

function refusal(name) {
  const why = `${name} is about this replica's own past, which apply must not read: it would do something else elsewhere`
  return new MultiHyperbeeError(
    'ERR_MODE',
    `${why}; keep what you need in the view, or ask db.view outside apply`
  )
}

for (const name of [...OWN_PAST, ...OWN_PAST_NOW]) {
  const now = OWN_PAST_NOW.includes(name)
  const refuse = () => {
    if (!now) return Promise.reject(refusal(name))
    throw refusal(name)
  }
  Object.defineProperty(WorkingView.prototype, name, { configurable: true, writable: true, value: refuse })
}

Object.defineProperty(WorkingView.prototype, 'version', {
  configurable: true,
  get() {
    throw refusal('version')
  }
})

module.exports = { WorkingView }
