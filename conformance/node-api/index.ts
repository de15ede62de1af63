export type { Ability, Case, Stage } from './stage.js';
export type { NodeApiProfile, NodeApiSubject, SignedTransaction, SpendRequest, SuiteRunner } from './subject.js';
export { defineNodeApiSuite, nodeApiCases } from './suite.js';
