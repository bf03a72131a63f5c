// The types of message on the socket of an investigation, as listed in
// collab/live/message.go; a test compares the two.

/** What the server sends. A client skips a type it does not know. */
export const serverTypes = [
  "hello",
  "reload",
  "presence.changed",
  "presence.self",
  "cursor.moved",
  "ack",
  "error",
  "follow.moved",
  "follow.ended",
  "follow.asked",
  "inbox.changed",
  "annotations.changed",
  "investigation.created",
  "investigation.updated",
  "investigation.deleted",
  "investigation.merged",
  "pin.added",
  "pin.updated",
  "pin.deleted",
  "note.added",
  "note.updated",
  "note.deleted",
  "link.added",
  "link.updated",
  "link.deleted",
  "picture.added",
  "picture.updated",
  "picture.deleted",
  "task.added",
  "task.updated",
  "task.deleted",
  "hypothesis.added",
  "hypothesis.updated",
  "hypothesis.deleted",
  "annotation.added",
  "annotation.updated",
  "annotation.deleted",
  "annotation.reacted",
  "annotation.resolved",
  "annotation.reopened",
  "entry.added",
  "entry.updated",
  "entry.deleted",
];

/** What a client may send. */
export const clientTypes = [
  "presence.set",
  "presence.prefer",
  "cursor.set",
  "follow.start",
  "follow.stop",
  "follow.ask",
  "follow.let_go",
  "investigation.update",
  "pin.add",
  "pin.update",
  "pin.delete",
  "note.add",
  "note.update",
  "note.delete",
  "link.add",
  "link.update",
  "link.delete",
  "picture.update",
  "picture.delete",
  "task.add",
  "task.update",
  "task.delete",
  "hypothesis.add",
  "hypothesis.update",
  "hypothesis.delete",
  "annotation.add",
  "annotation.update",
  "annotation.delete",
];

/** Close codes below this mean come back, from it on stay away. */
export const closeStayAway = 4500;
/** The page has to be loaded anew. */
export const closeReload = 4001;
/** The session ended. */
export const closeSignedOut = 4500;
/** The investigation may not be seen any more. */
export const closeForbidden = 4501;
/** It was deleted. */
export const closeGone = 4502;
/** The person has too many pages open. */
export const closeCrowded = 4504;
