create table datasets (
    dataset_id varchar not null,
    name varchar not null,
    version varchar not null,
    split varchar,
    num_clips integer,
    licence varchar,
    commercial_ok boolean,
    description varchar,
    primary key (dataset_id)
);

comment on table datasets is
    'Data sets, one row per version.';

comment on column datasets.dataset_id is 'Name and version, for example puppets-heldout@3f2a.';
comment on column datasets.name is 'Name without the version.';
comment on column datasets.version is 'Version: a content hash or a release.';
comment on column datasets.split is 'test for the items that an evaluation scored; null for a set that is split by clips.split.';
comment on column datasets.num_clips is 'Number of clips.';
comment on column datasets.licence is 'Licence of the footage.';
comment on column datasets.commercial_ok is 'Whether all clips may be used commercially: false where the licence or a person excludes it, true where the licence allows it, null when unknown.';
comment on column datasets.description is 'What it contains, in one sentence.';
