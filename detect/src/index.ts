/** Door of the room. */
export {};
