create table systems (
    run_id varchar not null,
    system varchar not null,
    label varchar not null,
    kind varchar not null check (kind in ('control', 'teacher', 'student', 'peer', 'truth')),
    variant varchar,
    num_steps integer,
    checkpoint varchar,
    description varchar,
    primary key (run_id, system)
);

comment on table systems is
    'Systems under test: one row per system and run, since a checkpoint of the same name differs between runs.';

comment on column systems.run_id is 'The run that wrote the row.';
comment on column systems.system is 'Name of the system within the run.';
comment on column systems.label is 'Name for tables and plots.';
comment on column systems.kind is 'control, teacher, student, peer or truth. Controls and truth are shown but never ranked.';
comment on column systems.variant is 'Size or preset, as the paper''s variant column.';
comment on column systems.num_steps is 'Denoising steps per chunk; null where there are none.';
comment on column systems.checkpoint is 'Content hash of the weights; null for controls.';
comment on column systems.description is 'What it does, in one sentence.';
