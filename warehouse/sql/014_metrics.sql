create table metrics (
    metric varchar not null,
    label varchar not null,
    definition varchar not null,
    version integer,
    scope varchar,
    computed_by varchar,
    unit varchar,
    higher_is_better boolean,
    published_name varchar,
    is_wall_clock boolean not null,
    primary key (metric)
);

comment on table metrics is
    'Metrics: one row per metric. The network behind a value is named on the value, not here.';

comment on column metrics.metric is 'Name used in every fact row.';
comment on column metrics.label is 'Name for tables and plots.';
comment on column metrics.definition is 'How it is computed, in one or two sentences.';
comment on column metrics.version is 'Version of the definition.';
comment on column metrics.scope is 'clip: per clip, a set has the mean; set: over a set only.';
comment on column metrics.computed_by is 'The kind of backend it needs: pixels, sync expert, image features, clock, ...';
comment on column metrics.unit is 'Unit; null for dimensionless.';
comment on column metrics.higher_is_better is 'Direction; null where neither end is better.';
comment on column metrics.published_name is 'The paper''s name of the same quantity; null where the paper has none.';
comment on column metrics.is_wall_clock is 'Measured with a clock: differs from run to run, so left out of the content digest.';
