import fc from 'fast-check'

/** For the mutation run, which runs each property thousands of times: most faults show at once. */
fc.configureGlobal({ interruptAfterTimeLimit: 800 })
