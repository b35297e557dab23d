'use strict'

// Three devices share one database: they sync a real data set, part, edit offline, and meet again in a chain in which
// laptop and phone only ever talk through cloud. Ends with 0 if all three hold the same, also after reopening.

const createTestnet = require('hyperdht/testnet')
const { createDevices, openDevice, grant, closeDevice, removeDevices } = require('./demo/devices.js')
const { connect, disconnect } = require('./demo/network.js')
const { importCountries } = require('./demo/import.js')
const { editOffline, beginForm, saveForm, position } = require('./demo/edits.js')
const { reportConflicts, checkMeaning, checkForm } = require('./demo/report.js')
const { step, showHashes } = require('./demo/print.js')
const { caughtUp, exchanged } = require('./demo/sync.js')

async function main() {
  const testnet = await createTestnet(4, { host: '127.0.0.1' })
  const devices = await createDevices(testnet, ['laptop', 'phone', 'cloud'])
  try {
    await tell(devices)
  } finally {
    await Promise.all(Object.values(devices).map(closeDevice))
    await testnet.destroy()
    removeDevices(devices)
  }
}

async function tell(devices) {
  const { laptop, phone, cloud } = devices
  const all = [laptop, phone, cloud]

  step('The laptop imports world-countries')
  await openDevice(laptop)
  const imported = await importCountries(laptop.db)

  step('Phone and cloud join; everybody meets in a chain: laptop, cloud, phone')
  await openDevice(cloud, laptop.db.key)
  await openDevice(phone, laptop.db.key)
  const granted = await grant(laptop, [cloud, phone])
  const chain = [await connect(laptop, cloud), await connect(cloud, phone)]
  await caughtUp([cloud, phone], chain, imported, granted)
  await showHashes(all)

  step('They part, and each edits offline')
  await Promise.all(chain.map(disconnect))
  await editOffline(devices)
  const form = await beginForm(phone.db, laptop.db)
  const edits = all.map(({ db }) => position(db))
  await showHashes(all)

  step('They meet again, in the same chain')
  const again = [await connect(laptop, cloud), await connect(cloud, phone)]
  await exchanged(all, again, edits)
  await reportConflicts(cloud.db, all)
  await checkMeaning(all)
  await exchanged(all, again, [await saveForm(phone.db, form)])
  await checkForm(all)
  const before = await showHashes(all, { equal: true })
  await Promise.all(again.map(disconnect))

  step('Everything is closed and opened again')
  await Promise.all(all.map((device) => device.db.close()))
  for (const device of all) await openDevice(device)
  const after = await showHashes(all, { equal: true })
  if (after !== before) throw new Error('reopening changed the state')
  console.log('\nThree devices, one state.')
}

main().catch((error) => {
  console.error(`\nThe demo failed: ${error.stack}`)
  process.exitCode = 1
})
