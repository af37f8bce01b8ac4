create view stage_effects as
select
    d.run_id,
    d.dataset_id,
    d.protocol_id,
    d.backend,
    d.metric,
    coalesce(m.label, d.metric) as metric_label,
    m.unit,
    d.system_a,
    coalesce(a.label, d.system_a) as label_a,
    d.system_b,
    coalesce(b.label, d.system_b) as label_b,
    d.difference,
    d.ci_low,
    d.ci_high,
    d.n,
    d.num_identities,
    d.no_interval_because,
    m.higher_is_better,
    coalesce(m.is_wall_clock, false) as is_wall_clock,
    case
        when m.higher_is_better is null or d.ci_low is null or d.ci_high is null then null
        when d.ci_low <= 0 and d.ci_high >= 0 then 'not separated'
        when (d.difference > 0) = m.higher_is_better then 'better'
        else 'worse'
    end as verdict
from paired_differences d
left join metrics m using (metric)
left join systems a on a.run_id = d.run_id and a.system = d.system_a
left join systems b on b.run_id = d.run_id and b.system = d.system_b
order by d.run_id, d.dataset_id, d.system_a, d.system_b, d.metric, d.backend;

comment on view stage_effects is
    'Paired differences read in the direction of their metric. Grain: run, data set, pair, metric, protocol, backend.';
comment on column stage_effects.verdict is
    'better, worse (system_a against system_b, interval excludes zero) or not separated; null where the metric has no direction or no interval was computed.';
comment on column stage_effects.run_id is 'The run the row is about; joins runs.';
comment on column stage_effects.dataset_id is 'Data set and version; joins datasets.';
comment on column stage_effects.protocol_id is 'Protocol that the values were measured with; joins protocols.';
comment on column stage_effects.backend is 'The network or algorithm that produced the value, with its hash.';
comment on column stage_effects.metric is 'Metric; joins metrics.';
comment on column stage_effects.metric_label is 'Name of the metric for tables and plots.';
comment on column stage_effects.unit is 'Unit of the metric; null for dimensionless.';
comment on column stage_effects.system_a is 'First system.';
comment on column stage_effects.label_a is 'Name of the first system for tables and plots.';
comment on column stage_effects.system_b is 'Second system, subtracted.';
comment on column stage_effects.label_b is 'Name of the second system for tables and plots.';
comment on column stage_effects.difference is 'Mean of value(a) - value(b) over the clips, in the unit of the metric.';
comment on column stage_effects.ci_low is 'Lower end of the 95 % interval; null where none was computed.';
comment on column stage_effects.ci_high is 'Upper end of the 95 % interval; null where none was computed.';
comment on column stage_effects.n is 'Clips both systems were scored on.';
comment on column stage_effects.num_identities is 'Different people among the clips; the intervals resample these. Null where not counted.';
comment on column stage_effects.no_interval_because is 'Why there is no interval, where there is none.';
comment on column stage_effects.higher_is_better is 'Direction of the metric; null where neither end is better.';
comment on column stage_effects.is_wall_clock is 'Measured with a clock, so different on every machine and in every run.';
