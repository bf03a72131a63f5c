-- Who gave a block its title and text as they are, if that is not who put it there.

ALTER TABLE blocks ADD COLUMN edited_by TEXT NOT NULL DEFAULT '';
ALTER TABLE blocks ADD COLUMN edited_by_name TEXT NOT NULL DEFAULT '';
