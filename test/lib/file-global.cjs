// The ImageKit SDK wants the global File. Node 18, which Debian 12 has, knows the class but not as a global.
globalThis.File ??= require('node:buffer').File;
