'use strict'

// What each device does while it hears of nobody. The calls follow each other in time, so who was later is known; no
// device knows what the others do.

/** Reads an object, changes it, puts it back. */
async function edit(db, key, change) {
  const { value } = await db.get(key)
  change(value)
  await db.put(key, value)
}

async function editOffline({ laptop, phone, cloud }) {
  await differentFields(laptop.db, phone.db)
  await sameField(laptop.db, phone.db, cloud.db)
  await insertionsAtOnePlace(laptop.db, phone.db, cloud.db)
  await deletionAgainstEdit(laptop.db, phone.db)
  await createdTwice(laptop.db, phone.db)
  await batch(cloud.db)
}

async function differentFields(laptop, phone) {
  console.log('  France: the laptop changes its area, the phone adds a translation')
  await edit(laptop, 'country/FRA', (france) => (france.area = 543940))
  await edit(phone, 'country/FRA', (france) => {
    france.translations.epo = { official: 'Franca Respubliko', common: 'Francio' }
  })
}

async function sameField(laptop, phone, cloud) {
  console.log('  Germany: laptop, phone and cloud rename it, the phone last')
  await edit(cloud, 'country/DEU', (germany) => (germany.name.common = 'Germany (cloud)'))
  await edit(laptop, 'country/DEU', (germany) => (germany.name.common = 'Germany (laptop)'))
  await edit(phone, 'country/DEU', (germany) => (germany.name.common = 'Germany (phone)'))
}

async function insertionsAtOnePlace(laptop, phone, cloud) {
  console.log('  Japan: each of the three inserts an alternative spelling in the same place')
  for (const [db, spelling] of [
    [laptop, 'Yamato (laptop)'],
    [phone, 'Nihon (phone)'],
    [cloud, 'Nippon (cloud)']
  ]) {
    await edit(db, 'country/JPN', (japan) => japan.altSpellings.splice(1, 0, spelling))
  }
}

async function deletionAgainstEdit(laptop, phone) {
  console.log('  Iceland: the laptop deletes it, later the phone edits it')
  await laptop.del('country/ISL')
  await edit(phone, 'country/ISL', (iceland) => (iceland.note = 'edited on the phone'))
  console.log('  Malta: the phone edits it, later the laptop deletes it')
  await edit(phone, 'country/MLT', (malta) => (malta.note = 'edited on the phone'))
  await laptop.del('country/MLT')
}

async function createdTwice(laptop, phone) {
  console.log('  Atlantis: created on the laptop and on the phone')
  await laptop.put('country/ATL', { cca3: 'ATL', region: 'Atlantic Ocean', found: 'on the laptop' })
  await phone.put('country/ATL', { cca3: 'ATL', capital: ['Poseidonis'], found: 'on the phone' })
}

async function batch(cloud) {
  console.log('  Benelux: the cloud marks three countries in one batch')
  const together = cloud.batch()
  for (const code of ['BEL', 'NLD', 'LUX']) {
    const { value } = await together.get(`country/${code}`)
    await together.put(`country/${code}`, { ...value, union: 'Benelux' })
  }
  await together.flush()
}

/** Holds an object that was read, as an open form does: what arrives meanwhile is not in it. */
async function beginForm(phone, laptop) {
  console.log('  Brazil: the phone opens it in a form; meanwhile the laptop changes its area')
  const { value: form } = await phone.get('country/BRA')
  await edit(laptop, 'country/BRA', (brazil) => (brazil.area = 8510346))
  return form
}

/** Saves the form after the laptop's edit has arrived. Resolves with the phone's new position. */
async function saveForm(phone, form) {
  console.log('  Brazil: the phone saves its form, which still shows the old area, with a new capital')
  await phone.put('country/BRA', { ...form, capital: ['Rio de Janeiro'] })
  return position(phone)
}

/** How far a device's own feed reaches. */
function position(db) {
  return { key: db.local.key, length: db.local.length }
}

module.exports = { editOffline, beginForm, saveForm, position }
