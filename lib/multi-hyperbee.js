'use strict'

const { EventEmitter } = require('node:events')
const { delegate } = require('./delegate.js')
const { translated } = require('./errors.js')
const { encryptionKeyOf, parseArguments, makeFunctions, seedOf } = require('./options.js')
const { Session, translatedAsync } = require('./session.js')
const { MergeMode } = require('./merge-mode.js')
const { RelayMode, MembersInRelay } = require('./relay-mode.js')
const { ApplyMode } = require('./apply/mode.js')
const { Store } = require('./store.js')
const { Members, MembersInApply } = require('./members.js')
const { Access, join } = require('./access.js')
const { Compactor } = require('./compact.js')
const { Events } = require('./events.js')
const { Progress } = require('./progress.js')
const { replicate } = require('./replication.js')
const { deriveKeyPair } = require('./key-pair.js')
const { GENESIS, encodeValue, decodeValue } = require('./block.js')
const { attach } = require('./merge-handler.js')

/**
 * A multi-writer, offline-first key-value database. See `index.d.ts` for what every member does.
 */
class MultiHyperbee extends EventEmitter {
  /** `(storage, options?, mergeHandler?)` as multi-hyperbee has it, or `(storage, key, options?)` as Autobee has it. */
  constructor(storage, second, third) {
    super()
    const options = parseArguments(storage, second, third, (x) => x instanceof Store)
    this._ownsStore = typeof options.storage === 'string'
    this.store = this._ownsStore ? new Store(options.storage) : options.storage
    this._session = new Session(() => this._open(options))
    this._isRelay = options.relay !== null
    const Who = this._isRelay ? MembersInRelay : options.handlers === null ? Members : MembersInApply
    this._members = new Who(this, this._session)
    this._access = new Access(this, this._session)
    this._reports = new Events(this, this._session)
    this._compactor = new Compactor(this._session)
    this._progress = new Progress(this, this._session, this.store._shared.streams)
    this._local = null
    this._closing = null
    this.store._shared.open.add(this)
    this._begin(options)
  }

  _begin(options) {
    const Mode = this._isRelay ? RelayMode : options.handlers === null ? MergeMode : ApplyMode
    try {
      this._mode = new Mode(this, this._session, options)
      this._bee = this._mode.bee
    } catch (error) {
      // The user's `open` threw.
      this.close().catch(() => {})
      throw error
    }
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

  async _open(options) {
    const { functions, handlers, relay } = options
    // Awaited first: what the user's class is constructed with is complete then.
    const secret = await seedOf(options.keyPair)
    const encryptionKey = await encryptionKeyOf(options.sealing, this.store._shared.encryptionKey)
    const called = functions && makeFunctions(functions, this)
    const native = await this.store._database({
      name: options.name,
      key: options.key ?? undefined,
      keyEncoding: options.keyEncoding.name,
      valueEncoding: options.valueEncoding.name,
      secret,
      encryptionKey,
      open: options.open,
      maxDrift: options.maxDrift,
      history: options.history,
      apply: handlers !== null,
      optimistic: options.optimistic,
      relay: relay ?? undefined
    })
    native.subscribe(() => this._reports.take(native))
    if (called !== null) await attach(native, this._session, this._bee._codec, called, this._reports)
    if (!this._isRelay) this._local = this.store.get(native.info().local)
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

  /** What is read: in apply mode what `open` made of the bee. */
  get view() {
    return this._mode.view
  }

  get bee() {
    return this._mode.view === this ? this : this._bee
  }

  /** Why `apply` was interrupted. */
  get interrupted() {
    return this._mode.interrupted
  }

  /** What was done since it was opened. */
  get stats() {
    return this._mode.stats
  }

  get keyEncoding() {
    return this._bee.keyEncoding
  }

  get valueEncoding() {
    return this._bee.valueEncoding
  }

  get writable() {
    return this.opened && (this._session.native().rights() & 1) !== 0
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
    await this._local?.ready()
  }

  async stateHash() {
    const native = await this._session.ready()
    return translatedAsync(translated(() => native.stateHash()))
  }

  replicate(isInitiatorOrStream, options) {
    this._session.accept()
    const open = async (peerOptions, wake) => (await this._session.ready()).replicate(peerOptions, wake)
    const offer = async (peer) => peer.offer(await this._session.ready())
    return replicate({ owner: this.store._shared, open, offer, db: this }, isInitiatorOrStream, options)
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
  _mode: 'append update updated flush wakeup setLocal views replay finality verify',
  _bee:
    'getSync getMany del batch conflicts createReadStream createHistoryStream createDiffStream watch getAndWatch ' +
    'peek getBySeq getHeader checkout snapshot sub',
  _members: 'addPeer removePeer getPeers addWriter removeWriter writers getDiff createUnionStream',
  _progress: 'applied heads status syncProgress',
  _compactor: 'compact',
  _access: 'requestAccess waitForWritable createInvite'
}

delegate(MultiHyperbee, PARTS)
Object.assign(MultiHyperbee, { GENESIS, encodeValue, decodeValue })

module.exports = { MultiHyperbee }
