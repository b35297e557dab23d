'use strict'

const { EventEmitter } = require('node:events')
const { delegate } = require('./delegate.js')
const { MultiHyperbeeError, translated } = require('./errors.js')
const { decodeKey } = require('./keys.js')
const { encryptionKeyOf, parseArguments, seedOf } = require('./options.js')
const { Codec } = require('./codec.js')
const { Session, translatedAsync } = require('./session.js')
const { Bee } = require('./bee.js')
const { Store } = require('./store.js')
const { Members } = require('./members.js')
const { Access, join } = require('./access.js')
const { Events } = require('./events.js')
const { Progress } = require('./progress.js')
const { replicate } = require('./replication.js')
const { deriveKeyPair } = require('./key-pair.js')
const { waitUntil } = require('./wait.js')

/**
 * A multi-writer, offline-first key-value database. See `index.d.ts` for what every member does.
 */
class MultiHyperbee extends EventEmitter {
  /** `(storage, options?)` as multi-hyperbee has it, or `(storage, key, options?)` as Autobee has it. */
  constructor(storage, second, third) {
    super()
    const options = parseArguments(storage, second, third, (x) => x instanceof Store)
    this._ownsStore = typeof options.storage === 'string'
    this.store = this._ownsStore ? new Store(options.storage) : options.storage
    this._session = new Session(() => this._open(options))
    this._bee = new Bee(this._session, new Codec(options.keyEncoding, options.valueEncoding))
    this._members = new Members(this, this._session)
    this._access = new Access(this, this._session)
    this._reports = new Events(this, this._session)
    this._progress = new Progress(this._session, this.store._shared.streams)
    this._local = null
    this._closing = null
    this.store._shared.open.add(this)
  }

  static isMultiHyperbee(x) {
    return x instanceof MultiHyperbee
  }

  static isAutobee(x) {
    return x instanceof MultiHyperbee
  }

  /** A database that asks, with an invite, to be let in. */
  static join(storage, invite, options) {
    return join(this, storage, invite, options)
  }

  /** A key pair for one database out of one that names a device. */
  static deriveKeyPair(master, name) {
    return deriveKeyPair(master, name)
  }

  async _open({ name, key, keyEncoding, valueEncoding, keyPair, open, maxDrift, ...sealing }) {
    const native = await this.store._database({
      name,
      key: key ?? undefined,
      keyEncoding: keyEncoding.name,
      valueEncoding: valueEncoding.name,
      secret: await seedOf(keyPair),
      encryptionKey: await encryptionKeyOf(sealing, this.store._shared.encryptionKey),
      open,
      maxDrift
    })
    native.subscribe(() => this._reports.take(native))
    this._local = this.store.get(native.info().local)
    return native
  }

  get key() {
    return this._session.info?.key ?? null
  }

  get discoveryKey() {
    return this._session.info?.discoveryKey ?? null
  }

  get id() {
    return this.key === null ? null : this.key.toString('hex')
  }

  get name() {
    return this._session.info?.name ?? null
  }

  /** The feed this replica writes. */
  get local() {
    return this._local
  }

  get feed() {
    return this._local
  }

  get view() {
    return this
  }

  get bee() {
    return this
  }

  get keyEncoding() {
    return this._bee.keyEncoding
  }

  get valueEncoding() {
    return this._bee.valueEncoding
  }

  get writable() {
    return this._bee.writable
  }

  get isIndexer() {
    return this.opened && (this._session.native().rights() & 2) !== 0
  }

  get version() {
    return this._bee.version
  }

  get opened() {
    return this._session.state === 'open'
  }

  get closed() {
    return this._session.state === 'closed'
  }

  /** Whether its feeds and its view are sealed. */
  get encrypted() {
    return this._session.info?.encrypted ?? false
  }

  get(key, options) {
    return this._bee.get(key, options)
  }

  put(key, value, options) {
    return this._bee.put(key, value, options)
  }

  async ready() {
    await this._session.ready()
    await this._local.ready()
  }

  async append() {
    const what = 'append is for apply mode: this database merges, write with put, del or batch'
    throw new MultiHyperbeeError('ERR_MODE', what)
  }

  async stateHash() {
    const native = await this._session.ready()
    return translated(() => native.stateHash())
  }

  /** Processes what is here. */
  async update() {
    const native = await this._session.ready()
    // No writes: an answer that comes after everything queued before it.
    await translatedAsync(translated(() => native.write(Buffer.alloc(4))))
  }

  async updated() {
    await this.update()
  }

  /** Waits until everything that any connected peer has announced is here and applied. */
  async flush(options) {
    await this.update()
    const native = await this._session.ready()
    await waitUntil(this._session, () => native.isFlushed(), options, 'flush')
  }

  /** Waits until that entry is in the view. */
  async applied(receipt, options) {
    const native = await this._session.ready()
    const key = decodeKey(receipt?.key)
    if (!Number.isSafeInteger(receipt.length)) {
      throw new MultiHyperbeeError('ERR_OPTIONS', 'applied takes a receipt: { key, length }')
    }
    await waitUntil(this._session, () => native.applied(key, receipt.length), options, 'applied')
  }

  /** The frontier: how much of every feed is in the view. */
  async heads() {
    const native = await this._session.ready()
    const placed = translated(() => native.progress()).filter((feed) => feed.placed > 0)
    return placed.map((feed) => ({ key: feed.key, length: feed.placed }))
  }

  replicate(isInitiatorOrStream, options) {
    this._session.accept()
    const open = async (peerOptions, wake) => (await this._session.ready()).replicate(peerOptions, wake)
    const offer = async (peer) => peer.offer(await this._session.ready())
    return replicate({ owner: this.store._shared, open, offer, db: this }, isInitiatorOrStream, options)
  }

  status() {
    return { ...this._progress.status(), error: this._reports.error }
  }

  syncProgress(options) {
    this._session.accept()
    return this._progress.changes(() => this.status(), options)
  }

  close() {
    if (this._closing === null) this._closing = this._close()
    return this._closing
  }

  async _close() {
    const closing = this._session.close()
    try {
      await closing
      await this._local?.close()
    } finally {
      this.store._shared.open.delete(this)
      // A store that is closing closes us: it does not wait for itself.
      if (this._ownsStore && !this.store.closed) await this.store.close()
      this.emit('close')
    }
  }
}

/** What others of its parts do for it. */
const PARTS = {
  _bee:
    'getSync getMany del batch conflicts createReadStream createHistoryStream createDiffStream watch getAndWatch ' +
    'peek getBySeq getHeader checkout snapshot sub',
  _members: 'addPeer removePeer getPeers addWriter removeWriter writers getDiff createUnionStream',
  _access: 'requestAccess waitForWritable createInvite'
}

delegate(MultiHyperbee, PARTS)

module.exports = { MultiHyperbee }
