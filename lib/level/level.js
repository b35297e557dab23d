'use strict'

const fs = require('node:fs/promises')
const path = require('node:path')
const { AbstractLevel, AbstractSnapshot } = require('abstract-level')
const { MultiHyperbee } = require('../multi-hyperbee.js')
const { Store } = require('../store.js')
const { MultiHyperbeeError } = require('../errors.js')
const { ANY } = require('../packed.js')
const { FORM_KEYS } = require('../codec.js')
const { readEntry, readEntries, hasEntry } = require('../reader.js')
const { packWrite } = require('../bee.js')
const { EntryIterator, KeyIterator, ValueIterator } = require('./iterators.js')
const { Rows, pickKey } = require('./rows.js')
const { levelError, mapped, mappedAsync } = require('./errors.js')

const BYTES = { keyEncoding: 'binary', valueEncoding: 'binary' }
/** Keys that one batch of `clear` deletes at most: each batch is one commit, which holds up other writes. */
const CLEAR_BATCH = 1024

/** LevelDB's interface, as `abstract-level` defines it, on a `MultiHyperbee`. See `level.d.ts` and `docs/level.md`. */
class MultiHyperbeeLevel extends AbstractLevel {
  constructor(location, options) {
    const given = MultiHyperbee.isMultiHyperbee(location)
    checkLocation(location, given)
    super(manifest(location, given), options)
    this._location = location
    this._given = given
    this._use(given ? location : null)
  }

  /** The database below; null before it is opened. */
  get db() {
    return this._db
  }

  _use(db) {
    this._db = db
    this._session = db?._session ?? null
    this._bee = db?.sub('', { ...BYTES, sep: '' }) ?? null
  }

  async _open(options) {
    if (!this._given) await this._create(options)
    try {
      await this._db.ready()
    } catch (error) {
      // What opened halfway holds the store.
      if (!this._given) await this._db.close().catch(() => {})
      throw levelError(error)
    }
  }

  async _create({ createIfMissing, errorIfExists, ...options }) {
    if (this.supports.createIfMissing) await checkExistence(this._location, createIfMissing, errorIfExists)
    this._use(mapped(() => new MultiHyperbee(this._location, { ...options, ...BYTES })))
  }

  async _close() {
    if (!this._given) await mappedAsync(this._db.close())
  }

  /** The version to read at: of the snapshot, or the newest. */
  _version(snapshot) {
    return snapshot == null ? mapped(() => this._session.native().version()) : snapshot.version
  }

  _getSync(key, { snapshot }) {
    const at = snapshot == null ? null : snapshot.version
    return mapped(() => readEntry(this._session.native(), this._bee._codec, key, at))?.value
  }

  async _get(key, options) {
    return this._getSync(key, options)
  }

  async _getMany(keys, { snapshot }) {
    const at = this._version(snapshot)
    const entries = mapped(() => readEntries(this._session.native(), this._bee._codec, keys, at))
    return entries.map((entry) => entry?.value)
  }

  async _has(key, options) {
    return (await this._hasMany([key], options))[0]
  }

  async _hasMany(keys, { snapshot }) {
    const at = this._version(snapshot)
    return mapped(() => keys.map((key) => hasEntry(this._session.native(), this._bee._codec, key, at)))
  }

  async _put(key, value) {
    await mappedAsync(this._bee.put(key, value))
  }

  async _del(key) {
    await mappedAsync(this._bee.del(key))
  }

  /** Takes effect together, here and on peers. */
  async _batch(operations) {
    const codec = this._bee._codec
    // Encoded before anything is queued: one that is refused refuses the batch.
    const writes = mapped(() =>
      operations.map(({ type, key, value }) => {
        const bytes = codec.encodeKey(key)
        return type === 'put' ? codec.encodeWrite(bytes, value) : { key: bytes, register: null }
      })
    )
    await this._commit(writes)
  }

  async _commit(writes) {
    if (writes.length === 0) return
    mapped(() => this._session.accept())
    const each = (packer) =>
      writes.forEach((write) => {
        if (write.register === null) packer.delete(write.key, ANY)
        else packWrite(packer, write, ANY)
      })
    await mappedAsync(this._session.queue.write((packer) => packer.batch(writes.length, each)))
  }

  /** What was in the range when this was called, a batch at a time: not atomic as a whole. */
  async _clear(options) {
    const rows = new Rows(this._scanner(options.snapshot, FORM_KEYS), options, pickKey)
    let left = options.limit < 0 ? Infinity : options.limit
    while (left > 0) {
      const keys = await rows.many(Math.min(left, CLEAR_BATCH))
      await this._commit(keys.map((key) => ({ key, register: null })))
      if (keys.length < CLEAR_BATCH) break
      left -= keys.length
    }
    rows.close()
  }

  /** Opens native cursors at the version of the snapshot, or of now. */
  _scanner(snapshot, form = this._bee._codec.form) {
    const at = this._version(snapshot)
    return (range) => mapped(() => this._session.native().scan(range, form, at))
  }

  _iterator(options) {
    return new EntryIterator(this, options)
  }

  _keys(options) {
    return new KeyIterator(this, options)
  }

  _values(options) {
    return new ValueIterator(this, options)
  }

  _snapshot(options) {
    return new Snapshot(
      mapped(() => this._bee.snapshot()),
      options
    )
  }
}

class Snapshot extends AbstractSnapshot {
  constructor(view, options) {
    super(options)
    this._view = view
  }

  get version() {
    return this._view.version
  }

  async _close() {
    await this._view.close()
  }
}

/** What is supported, exactly; keys and values of other formats are transcoded to buffers by abstract-level. */
function manifest(location, given) {
  const directory = typeof location === 'string' && location !== ':memory:'
  const inMemory = (given ? location.store : location)._shared?.inMemory
  return {
    encodings: { buffer: true },
    seek: true,
    has: true,
    getSync: true,
    implicitSnapshots: true,
    explicitSnapshots: true,
    permanence: directory || inMemory === false,
    createIfMissing: directory,
    errorIfExists: directory,
    signals: { iterators: true }
  }
}

function checkLocation(location, given) {
  if (given || location instanceof Store || (typeof location === 'string' && location !== '')) return
  const what = "a MultiHyperbeeLevel takes the path of a directory, ':memory:', a Store or a MultiHyperbee"
  throw new MultiHyperbeeError('ERR_OPTIONS', what)
}

async function checkExistence(location, createIfMissing, errorIfExists) {
  if (createIfMissing && !errorIfExists) return
  const exists = await fs.access(path.join(location, 'data.mdb')).then(
    () => true,
    () => false
  )
  const wrong = (what) => new MultiHyperbeeError('ERR_OPTIONS', `${location} ${what}`)
  if (!exists && !createIfMissing) throw wrong('does not exist, and createIfMissing is false')
  if (exists && errorIfExists) throw wrong('exists already, and errorIfExists is true')
}

module.exports = { MultiHyperbeeLevel }
