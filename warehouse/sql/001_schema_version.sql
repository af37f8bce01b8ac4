create table schema_version (
    version integer not null,
    content_key varchar not null
);

comment on table schema_version is
    'What this snapshot was built from. One row.';

comment on column schema_version.version is 'Version of the schema; a program that knows only lower versions refuses the file.';
comment on column schema_version.content_key is 'Hash of the schema, the published numbers and every inbox file that went in. [volatile]';
