'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const Hyperswarm = require('hyperswarm')
const MultiHyperbee = require('../..')

const NAME = 'countries'

/**
 * A device: a directory, a swarm of its own on the local DHT and, once opened, a database.
 *
 * @typedef {{ name: string, directory: string, dht: object, swarm: object, db: object | null }} Device
 */

/** @returns {Promise<Record<string, Device>>} by name; nothing is opened yet */
async function createDevices(testnet, names) {
  const devices = {}
  for (const name of names) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), `multi-hyperbee-${name}-`))
    const dht = testnet.createNode({ host: '127.0.0.1' })
    await dht.fullyBootstrapped()
    devices[name] = { name, directory, dht, swarm: new Hyperswarm({ dht }), db: null }
  }
  return devices
}

/** Opens a device's database: the first time with the key of the one it joins; later its name is enough. */
async function openDevice(device, key) {
  device.db = new MultiHyperbee(device.directory, key === undefined ? { name: NAME } : { name: NAME, key })
  await device.db.ready()
}

/** Lets other devices write. Resolves with the laptop's position after the last grant. */
async function grant(laptop, others) {
  for (const other of others) await laptop.db.addWriter(other.db.local.key)
  return { key: laptop.db.local.key, length: laptop.db.local.length }
}

async function closeDevice(device) {
  await device.swarm.destroy()
  await device.dht.destroy()
  await device.db?.close()
}

function removeDevices(devices) {
  for (const { directory } of Object.values(devices)) fs.rmSync(directory, { recursive: true, force: true })
}

module.exports = { createDevices, openDevice, grant, closeDevice, removeDevices }
