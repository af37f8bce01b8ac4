create table stage_timings (
    run_id varchar not null,
    stage varchar not null,
    item varchar not null,
    position integer,
    wall_s double not null check (wall_s >= 0),
    reused boolean,
    started_at timestamp,
    cpu_seconds double check (cpu_seconds >= 0),
    primary key (run_id, stage, item)
);

comment on table stage_timings is
    'Where the time of a run went. Grain: run, stage, item. [volatile]';

comment on column stage_timings.run_id is 'The run that wrote the row.';
comment on column stage_timings.stage is 'Stage of the flow.';
comment on column stage_timings.item is 'Unit of work within the stage, such as a kind of step of curation; ''all'' for the stage as a whole.';
comment on column stage_timings.position is 'Order of the stages, from 0.';
comment on column stage_timings.wall_s is 'Wall-clock seconds; of a kind of step the sum over all workers.';
comment on column stage_timings.reused is 'Finished by an earlier run and taken from its store; null where a stage mixes both or is not tracked.';
comment on column stage_timings.started_at is 'Start, UTC; null for a kind of step, whose pieces start at many times.';
comment on column stage_timings.cpu_seconds is 'CPU time, user and system, of the run''s process and of all processes it started, during the stage; null in runs before schema 2.';
