create table funnel (
    run_id varchar not null,
    dataset_id varchar not null,
    stage varchar not null,
    position integer not null,
    unit varchar not null,
    num_in integer not null check (num_in >= 0),
    num_out integer not null check (num_out >= 0),
    seconds_in double,
    seconds_out double,
    primary key (run_id, dataset_id, stage)
);

comment on table funnel is
    'Counts through curation. Grain: run, data set, stage.';

comment on column funnel.run_id is 'The run that wrote the row.';
comment on column funnel.dataset_id is 'Data set and version; joins datasets.';
comment on column funnel.stage is 'Stage of curation.';
comment on column funnel.position is 'Order of the stages, from 0.';
comment on column funnel.unit is 'What is counted, such as segments; the same in every stage of a run.';
comment on column funnel.num_in is 'How many entered the stage.';
comment on column funnel.num_out is 'How many left it alive.';
comment on column funnel.seconds_in is 'Seconds of footage that entered; null where unknown.';
comment on column funnel.seconds_out is 'Seconds of footage that left alive; null where unknown.';
