create table metric_values (
    run_id varchar not null,
    dataset_id varchar not null,
    system varchar not null,
    clip_id varchar,
    metric varchar not null,
    value double not null,
    n integer not null check (n > 0),
    num_identities integer,
    ci_low double,
    ci_high double,
    num_vectors integer,
    no_interval_because varchar,
    protocol_id varchar not null,
    backend varchar not null,
    unique (run_id, dataset_id, system, clip_id, metric, protocol_id, backend)
);

comment on table metric_values is
    'Scores. Grain: run, data set, system, clip (null: the whole set), metric, protocol, backend.';

comment on column metric_values.run_id is 'The run that wrote the row.';
comment on column metric_values.dataset_id is 'Data set and version; joins datasets.';
comment on column metric_values.system is 'System that was scored; joins systems.';
comment on column metric_values.clip_id is 'The clip, or null for a value over the whole set.';
comment on column metric_values.metric is 'Metric; joins metrics.';
comment on column metric_values.value is 'The score, in the unit of metrics.unit.';
comment on column metric_values.n is 'Clips a set value rests on; frames for the value of a clip.';
comment on column metric_values.num_identities is 'How many different people; the intervals resample these. Null where not counted.';
comment on column metric_values.ci_low is 'Lower end of the 95 % bootstrap interval; null where none was computed.';
comment on column metric_values.ci_high is 'Upper end of the 95 % bootstrap interval; null where none was computed.';
comment on column metric_values.num_vectors is 'Feature vectors on each side of a Frechet distance; compare such distances at equal numbers only.';
comment on column metric_values.no_interval_because is 'Why there is no interval, where there is none.';
comment on column metric_values.protocol_id is 'Protocol; joins protocols.';
comment on column metric_values.backend is 'The network or algorithm that produced the number, with its hash. Never compare two backends.';
