create table paired_differences (
    run_id varchar not null,
    dataset_id varchar not null,
    system_a varchar not null,
    system_b varchar not null,
    metric varchar not null,
    difference double not null,
    ci_low double,
    ci_high double,
    no_interval_because varchar,
    n integer not null check (n > 0),
    num_identities integer,
    protocol_id varchar not null,
    backend varchar not null,
    primary key (run_id, dataset_id, system_a, system_b, metric, protocol_id, backend)
);

comment on table paired_differences is
    'Differences between two systems on the same clips, system_a minus system_b. Grain: run, data set, pair, metric, protocol, backend.';

comment on column paired_differences.run_id is 'The run that wrote the row.';
comment on column paired_differences.dataset_id is 'Data set and version; joins datasets.';
comment on column paired_differences.system_a is 'First system.';
comment on column paired_differences.system_b is 'Second system, subtracted.';
comment on column paired_differences.metric is 'Metric; joins metrics.';
comment on column paired_differences.difference is 'Mean of value(a) - value(b) over the clips.';
comment on column paired_differences.ci_low is 'Lower end of its 95 % bootstrap interval.';
comment on column paired_differences.ci_high is 'Upper end of its 95 % bootstrap interval.';
comment on column paired_differences.n is 'Clips both systems were scored on.';
comment on column paired_differences.num_identities is 'How many different people; the intervals resample these. Null where not counted.';
comment on column paired_differences.no_interval_because is 'Why there is no interval, where there is none.';
comment on column paired_differences.protocol_id is 'Protocol; joins protocols.';
comment on column paired_differences.backend is 'The network or algorithm that produced the number, with its hash. Never compare two backends.';
