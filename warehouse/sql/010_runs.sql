create table runs (
    run_id varchar not null,
    flow varchar not null,
    status varchar not null check (status in ('running', 'completed', 'failed')),
    preset varchar,
    seed bigint,
    code_version varchar,
    config_json varchar,
    started_at timestamp,
    finished_at timestamp,
    host varchar,
    primary key (run_id)
);

comment on table runs is
    'Runs of a flow: one row per run.';

comment on column runs.run_id is 'Name of the run; also its folder below runs/<flow>/.';
comment on column runs.flow is 'The flow: demo, curate, train_teacher, distill_student, evaluate, ...';
comment on column runs.status is 'running, completed or failed.';
comment on column runs.preset is 'Model and training preset, where one was used.';
comment on column runs.seed is 'The seed every random number of the run derives from.';
comment on column runs.code_version is 'Version of this package, with the commit where known.';
comment on column runs.config_json is 'The resolved settings of the run as JSON.';
comment on column runs.started_at is 'Start, UTC. [volatile]';
comment on column runs.finished_at is 'End, UTC; null while running or after a kill. [volatile]';
comment on column runs.host is 'The machine: processor, cores, accelerator. [volatile]';
