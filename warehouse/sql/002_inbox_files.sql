create table inbox_files (
    path varchar not null,
    table_name varchar,
    num_rows integer,
    status varchar not null check (status in ('loaded', 'quarantined')),
    problem varchar,
    primary key (path)
);

comment on table inbox_files is
    'Every file found in the inbox at the last load, taken or not. One row per file. [volatile]';

comment on column inbox_files.path is 'Path below the inbox root.';
comment on column inbox_files.table_name is 'The table the file belongs to; null where its folder is not a table.';
comment on column inbox_files.num_rows is 'Rows in the file; null where it could not be read.';
comment on column inbox_files.status is 'loaded or quarantined; rows of a quarantined file are in no table.';
comment on column inbox_files.problem is 'Why the file was quarantined, in the reader''s own words.';
