'use strict'

const assert = require('node:assert/strict')

const CONTESTED = ['FRA', 'DEU', 'JPN', 'ISL', 'MLT', 'ATL', 'BRA']

/** What must have conflicted: where, who won, who lost. */
const EXPECTED = [
  'DEU.name.common: phone over laptop, cloud',
  'ISL.note: phone over laptop',
  'MLT.note: laptop over phone',
  'ATL.found: phone over laptop'
]

/** Prints what conflicted, who won and who lost; throws unless it is exactly that. */
async function reportConflicts(db, devices) {
  const found = []
  const names = new Map(devices.map(({ name, db: { local } }) => [local.key.toString('hex'), name]))
  const who = ({ writer, seq }) => `${names.get(writer.toString('hex'))}@${seq}`
  for (const code of CONTESTED) {
    for (const { path, winner, losers, values } of await db.conflicts(`country/${code}`)) {
      const place = [code, ...path].join('.')
      const device = ({ writer }) => names.get(writer.toString('hex'))
      found.push(`${place}: ${device(winner)} over ${losers.map(device).join(', ')}`)
      console.log(
        `  ${place}: ${who(winner)} over ${losers.map(who).join(', ')}; values ${JSON.stringify(values)}`
      )
    }
  }
  assert.deepEqual(found, EXPECTED)
  await showOutcome(db)
}

async function showOutcome(db) {
  const value = async (code) => (await db.get(`country/${code}`))?.value
  const [france, germany, japan] = [await value('FRA'), await value('DEU'), await value('JPN')]
  console.log(`  France keeps both: area ${france.area}, and ${france.translations.epo.common}`)
  console.log(`  Germany has the latest name: ${germany.name.common}`)
  console.log(`  Japan has every spelling once: ${japan.altSpellings.join(', ')}`)
  console.log(`  Iceland was edited after its deletion: ${(await value('ISL')).note}`)
  console.log(`  Malta was deleted after its edit: ${(await value('MLT')) === undefined ? 'gone' : 'here'}`)
  console.log(`  Atlantis was merged field by field: ${JSON.stringify(await value('ATL'))}`)
}

/** Throws unless every device holds what the edits meant. */
async function checkMeaning(devices) {
  for (const { name, db } of devices) {
    const value = async (code) => (await db.get(`country/${code}`))?.value
    const [france, japan, atlantis] = [await value('FRA'), await value('JPN'), await value('ATL')]
    assert.equal(france.area, 543940, name)
    assert.equal(france.translations.epo.common, 'Francio', name)
    assert.equal((await value('DEU')).name.common, 'Germany (phone)', name)
    for (const spelling of ['Yamato (laptop)', 'Nihon (phone)', 'Nippon (cloud)']) {
      assert.equal(japan.altSpellings.filter((each) => each === spelling).length, 1, name)
    }
    assert.equal((await value('ISL')).note, 'edited on the phone', name)
    assert.equal(await value('MLT'), undefined, name)
    assert.equal(atlantis.region, 'Atlantic Ocean', name)
    assert.deepEqual(atlantis.capital, ['Poseidonis'], name)
    assert.equal(atlantis.found, 'on the phone', name)
    for (const code of ['BEL', 'NLD', 'LUX']) assert.equal((await value(code)).union, 'Benelux', name)
  }
}

/** Throws unless a form that was saved late changed what its user changed, and nothing else. */
async function checkForm(devices) {
  for (const { name, db } of devices) {
    const { value } = await db.get('country/BRA')
    assert.deepEqual(value.capital, ['Rio de Janeiro'], name)
    assert.equal(value.area, 8510346, name)
  }
  console.log('  Brazil has the new capital, and the area that had arrived meanwhile')
}

module.exports = { reportConflicts, checkMeaning, checkForm }
