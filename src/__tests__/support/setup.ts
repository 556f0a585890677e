/**
 * Node 24 has Web Locks. Tests that reload a page keep the old one in this process, so it would go
 * on holding its locks; those that are about locks bring their own.
 */
if (globalThis.navigator?.locks) Object.defineProperty(navigator, 'locks', { value: undefined, configurable: true })
