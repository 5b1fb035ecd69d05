"""What the two SQLite files of a store hold."""

from __future__ import annotations

from typing import Final

from facegrep.store._schema import Schema

# scrub: the last commit whose deleted rows may still lie in free pages or in the log; 0: none do.
_STORE: Final = """
    CREATE TABLE store (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        seq INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        salt BLOB NOT NULL,
        scrub INTEGER NOT NULL,
        search_audit INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT
"""

# Of changes in the catalog, of searches in session.db. Each hash covers the one before it.
_AUDIT: Final = """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        time_ms INTEGER NOT NULL,
        actor TEXT,
        account TEXT,
        action TEXT NOT NULL,
        library_id INTEGER,
        library TEXT,
        media_count INTEGER NOT NULL,
        face_count INTEGER NOT NULL,
        details TEXT NOT NULL,
        previous BLOB NOT NULL,
        hash BLOB NOT NULL
    ) STRICT
"""

# A row's last column is the checksum of the others (_checksum.py), except in audit, whose chain is
# one. library.digest is the sum of the hashes of its media, modulo 2**64: a row that vanished or
# came twice makes it wrong. Media's hash leaves out where the codes are, the last columns but the
# checksum, so that compaction moves codes without a word to those who follow (_media.py).
#
# A library's id is its incarnation: it stands for (account, name) and is never reused, so every key
# below it belongs to one account. Ordinals of assets are never reused within it, and what changed
# since a sequence number is found by row_seq: media that came or changed, tombstones that went.
# One row an asset, not one a face: an asset's vectors are contiguous slots of one segment, and the
# boxes of its faces one blob (see _faces.py). Rows of faces doubled the time of an insert.
#
# media has no foreign key: with one, SQLite keeps a copy of every page that a statement of many
# rows changes (3 GB for a million faces). Who writes has read the library's row; `verify` finds
# orphans.
#
# library.recognition: ids of the recognition libraries that it lists, with commas between. They are
# random and never used again, so those of libraries that are gone mean nothing. The three tables of
# recognition prove each other from below: _recognition_rows.py; so do media, video and track:
# _video_rows.py.
#
# A block's CRC-32 is that of its bytes once the slots named in erase_journal are zero. So it holds
# before, while and after they are overwritten, whoever overwrites them.
CATALOG: Final = Schema(
    application_id=0x66677270,  # "fgrp"
    version=3,
    older=(
        (1, "03012d5bc6061eb2b9fcf6f9487ec44fa282abf6e381684221e59f7c27af5df5"),
        (2, "34272b5c898e28f6f42daf4bfdc2ed866e964321b81147d871631c4a63ec8f30"),
    ),
    statements=(
        _STORE,
        """
        CREATE TABLE account (
            name TEXT PRIMARY KEY,
            created_ms INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE library (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account TEXT NOT NULL REFERENCES account (name),
            name TEXT NOT NULL,
            model TEXT,
            dim INTEGER NOT NULL,
            threshold REAL,
            face_index TEXT,
            config TEXT NOT NULL,
            recognition TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            ttl_ms INTEGER,
            generation INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            erased_seq INTEGER NOT NULL,
            next_ordinal INTEGER NOT NULL,
            media_count INTEGER NOT NULL,
            face_count INTEGER NOT NULL,
            digest INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            UNIQUE (account, name)
        ) STRICT
        """,
        """
        CREATE TABLE segment (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            library_id INTEGER NOT NULL REFERENCES library (id),
            generation INTEGER NOT NULL,
            number INTEGER NOT NULL,
            committed_bytes INTEGER NOT NULL,
            sealed INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            UNIQUE (library_id, generation, number)
        ) STRICT
        """,
        """
        CREATE TABLE block (
            segment_id INTEGER NOT NULL,
            number INTEGER NOT NULL,
            length INTEGER NOT NULL,
            crc32 INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (segment_id, number)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE media (
            library_id INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            media_id TEXT NOT NULL,
            media_type TEXT NOT NULL,
            namespace TEXT,
            int_field1 INTEGER,
            str_field1 TEXT,
            str_field2 TEXT,
            utc_create_ms INTEGER NOT NULL,
            added_ms INTEGER NOT NULL,
            title TEXT,
            source TEXT,
            content_sha256 BLOB NOT NULL,
            row_seq INTEGER NOT NULL,
            face_count INTEGER NOT NULL,
            face_data BLOB,
            precision TEXT,
            job_status TEXT,
            job_submit_ms INTEGER,
            job_finish_ms INTEGER,
            job_error TEXT,
            segment_id INTEGER,
            first_slot INTEGER,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (library_id, ordinal)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE UNIQUE INDEX media_by_id ON media (library_id, media_id)",
        "CREATE INDEX media_by_seq ON media (library_id, row_seq)",
        # Of the few whose analysis is not done, so that an opening finds them at once.
        "CREATE INDEX media_running ON media (library_id, ordinal) WHERE job_status = 'Running'",
        """
        CREATE TABLE tombstone (
            library_id INTEGER NOT NULL,
            row_seq INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (library_id, row_seq, ordinal)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE pending_input (
            library_id INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            is_array INTEGER NOT NULL,
            content BLOB NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (library_id, ordinal)
        ) STRICT
        """,
        """
        CREATE TABLE video (
            library_id INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            duration_ms INTEGER NOT NULL,
            analysed_ms INTEGER NOT NULL,
            truncated TEXT,
            person_count INTEGER NOT NULL,
            track_count INTEGER NOT NULL,
            digest INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (library_id, ordinal)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE track (
            library_id INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            number INTEGER NOT NULL,
            person INTEGER NOT NULL,
            start_ms INTEGER NOT NULL,
            end_ms INTEGER NOT NULL,
            face_count INTEGER NOT NULL,
            face_times_ms BLOB NOT NULL,
            samples BLOB NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (library_id, ordinal, number)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE erase_journal (
            segment_id INTEGER NOT NULL,
            first_slot INTEGER NOT NULL,
            slot_count INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (segment_id, first_slot)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE recognition (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account TEXT NOT NULL REFERENCES account (name),
            lib_id TEXT NOT NULL,
            name TEXT NOT NULL,
            description TEXT NOT NULL,
            model TEXT,
            dim INTEGER NOT NULL,
            created_ms INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            next_number INTEGER NOT NULL,
            entity_count INTEGER NOT NULL,
            digest INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            UNIQUE (account, lib_id)
        ) STRICT
        """,
        """
        CREATE TABLE recognition_entity (
            recognition_id INTEGER NOT NULL REFERENCES recognition (id),
            entity_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            name TEXT NOT NULL,
            info TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            sample_count INTEGER NOT NULL,
            digest INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (recognition_id, entity_id)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE recognition_sample (
            recognition_id INTEGER NOT NULL,
            entity_id TEXT NOT NULL,
            sample_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            created_ms INTEGER NOT NULL,
            source TEXT,
            content_sha256 BLOB NOT NULL,
            face_data BLOB,
            precision TEXT,
            code BLOB NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (recognition_id, entity_id, sample_id),
            FOREIGN KEY (recognition_id, entity_id) REFERENCES recognition_entity
        ) STRICT, WITHOUT ROWID
        """,
        # What users said about people: _people_rows.py.
        """
        CREATE TABLE people (
            library_id INTEGER PRIMARY KEY,
            next_number INTEGER NOT NULL,
            face_count INTEGER NOT NULL,
            digest INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE people_face (
            library_id INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            face_no INTEGER NOT NULL,
            person INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (library_id, ordinal, face_no)
        ) STRICT, WITHOUT ROWID
        """,
        _AUDIT,
    ),
)

SESSION: Final = Schema(
    application_id=0x66677273,  # "fgrs"
    version=3,
    older=(
        (1, "a0574378a01b38d71fb54e650fbd7e5c95946d9787d41bdc531fffa25d52d0f4"),
        (2, "65a99af709d97978732132a72debc31124ca853331c18c62d6320df1a063a1bc"),
    ),
    statements=(
        _STORE,
        """
        CREATE TABLE answer (
            account TEXT NOT NULL,
            library_id INTEGER NOT NULL,
            token TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            condition BLOB NOT NULL,
            url_sha256 BLOB NOT NULL,
            threshold REAL,
            seq INTEGER NOT NULL,
            total INTEGER NOT NULL,
            embedding BLOB NOT NULL,
            ordinals BLOB NOT NULL,
            scores BLOB NOT NULL,
            faces BLOB NOT NULL,
            added_ms BLOB NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (account, library_id, token)
        ) STRICT
        """,
        "CREATE INDEX answer_by_age ON answer (created_ms, bytes)",
        """
        CREATE TABLE access_key (
            id TEXT PRIMARY KEY,
            account TEXT NOT NULL,
            policy TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            expires_ms INTEGER,
            disabled INTEGER NOT NULL,
            seal TEXT NOT NULL,
            sealed BLOB NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE nonce (
            access_key_id TEXT NOT NULL,
            nonce TEXT NOT NULL,
            expires_ms INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (access_key_id, nonce)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX nonce_by_expiry ON nonce (expires_ms)",
        _AUDIT,
    ),
)
