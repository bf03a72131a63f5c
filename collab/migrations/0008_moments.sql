-- An annotation may be about a stretch of time, not only a moment.

ALTER TABLE annotations ADD COLUMN moment_end INTEGER NOT NULL DEFAULT 0;     -- 0: moment is no stretch
