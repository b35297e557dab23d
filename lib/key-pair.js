'use strict'

const crypto = require('node:crypto')
const { MultiHyperbeeError } = require('./errors.js')

const CONTEXT = 'multi-hyperbee 2026 derived key pair v1'
/** What stands before the seed in a PKCS #8 private key of ed25519 (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/**
 * A key pair for one database out of one that names a device: HKDF-SHA-256 of its seed, by name.
 *
 * @param {{ secretKey: Uint8Array } | Uint8Array} master a key pair, a secret key (64 bytes) or a seed (32 bytes)
 * @param {string} name the same name gives the same pair, another name one that tells nothing of it
 * @returns {{ publicKey: Buffer, secretKey: Buffer }} the secret key of 64 bytes, as sodium has it
 */
function deriveKeyPair(master, name) {
  const secret = master instanceof Uint8Array ? master : master?.secretKey
  if (!(secret instanceof Uint8Array) || (secret.length !== 64 && secret.length !== 32)) {
    const what = 'deriveKeyPair takes a key pair { secretKey }, a secret key of 64 bytes or a seed of 32'
    throw new MultiHyperbeeError('ERR_OPTIONS', what)
  }
  if (typeof name !== 'string' || name === '') {
    throw new MultiHyperbeeError('ERR_OPTIONS', 'deriveKeyPair takes a name for what the pair is to write')
  }
  const seed = Buffer.from(crypto.hkdfSync('sha256', secret.subarray(0, 32), CONTEXT, name, 32))
  const publicKey = publicKeyOf(seed)
  return { publicKey, secretKey: Buffer.concat([seed, publicKey]) }
}

/** @param {Uint8Array} seed 32 bytes */
function publicKeyOf(seed) {
  const key = crypto.createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' })
  return Buffer.from(crypto.createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32))
}

module.exports = { deriveKeyPair, publicKeyOf }
