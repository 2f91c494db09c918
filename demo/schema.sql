-- The application's tables, as it would create them itself: nothing in here knows of ImageKit clean-up.
--
-- A site where owners of modular synthesizers keep their modules and the patches they play on them. Images are ImageKit
-- URLs: in images, and for a patch also in schema.imageUrl (the drawing of its cabling).

CREATE TABLE users (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE
);

CREATE TABLE modules (
  id bigint PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  name text NOT NULL,
  images text[]
);

CREATE TABLE patches (
  id bigint PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  title text NOT NULL,
  images text[],
  schema jsonb
);

CREATE TABLE patch_modules (
  patch_id bigint NOT NULL REFERENCES patches ON DELETE CASCADE,
  module_id bigint NOT NULL REFERENCES modules ON DELETE CASCADE,
  PRIMARY KEY (patch_id, module_id)
);

CREATE INDEX ON modules (user_id);
CREATE INDEX ON patches (user_id);
CREATE INDEX ON patch_modules (module_id);
