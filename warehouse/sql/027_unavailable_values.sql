create table unavailable_values (
    run_id varchar not null,
    dataset_id varchar not null,
    system varchar not null,
    clip_id varchar,
    metric varchar not null,
    because varchar not null,
    protocol_id varchar not null,
    backend varchar not null,
    unique (run_id, dataset_id, system, clip_id, metric, protocol_id, backend)
);

comment on table unavailable_values is
    'Values that could not be measured, and why. Grain as metric_values.';

comment on column unavailable_values.run_id is 'The run that wrote the row.';
comment on column unavailable_values.dataset_id is 'Data set and version; joins datasets.';
comment on column unavailable_values.system is 'System that was scored; joins systems.';
comment on column unavailable_values.clip_id is 'The clip, or null for the whole set.';
comment on column unavailable_values.metric is 'Metric; joins metrics.';
comment on column unavailable_values.because is 'Why there is no value.';
comment on column unavailable_values.protocol_id is 'Protocol; joins protocols.';
comment on column unavailable_values.backend is 'What would have measured it.';
