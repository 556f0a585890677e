import { type Options, readOptions, USAGE } from './options'
import { describe, isFlat, soak } from './run'

const options = readArguments()
console.log(`bytes that an iteration leaves behind; at most ${options.bar}`)
const findings = await soak(options, (finding) => console.log(describe(finding, options)))
const growing = findings.filter((finding) => !isFlat(finding, options))
console.log(
  growing.length === 0
    ? 'nothing grows, nothing fails'
    : `${growing.map(({ churn }) => churn.name).join(', ')}: not so`,
)
process.exit(growing.length === 0 ? 0 : 1)

function readArguments(): Options {
  try {
    return readOptions(process.argv.slice(2))
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`)
    process.exit(2)
  }
}
