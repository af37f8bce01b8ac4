-- Staging: set-level scores with the words that describe them. Marts below read this, not metric_values.
create view set_scores as
select
    v.run_id,
    v.dataset_id,
    v.protocol_id,
    v.backend,
    v.system,
    coalesce(s.label, v.system) as label,
    s.kind,
    s.variant,
    s.num_steps,
    v.metric,
    coalesce(m.label, v.metric) as metric_label,
    m.unit,
    m.higher_is_better,
    m.published_name,
    coalesce(m.is_wall_clock, false) as is_wall_clock,
    v.value,
    v.ci_low,
    v.ci_high,
    v.n,
    v.num_identities,
    v.num_vectors,
    v.no_interval_because,
    p.paper_table
from metric_values v
left join systems s using (run_id, system)
left join metrics m using (metric)
left join protocols p using (protocol_id)
where v.clip_id is null;

comment on view set_scores is
    'Scores over whole sets, described. Grain: run, data set, system, metric, protocol, backend.';
comment on column set_scores.run_id is 'The run the row is about; joins runs.';
comment on column set_scores.dataset_id is 'Data set and version; joins datasets.';
comment on column set_scores.protocol_id is 'Protocol that the values were measured with; joins protocols.';
comment on column set_scores.backend is 'The network or algorithm that produced the value, with its hash.';
comment on column set_scores.system is 'Name of the system within its run; joins systems.';
comment on column set_scores.label is 'Name of the system for tables and plots; its plain name where the system is not described.';
comment on column set_scores.kind is 'control, teacher, student, peer or truth; null where the system is not described.';
comment on column set_scores.variant is 'Size or preset, and ablation settings; null where none.';
comment on column set_scores.num_steps is 'Denoising steps per chunk; null where there are none or the table does not print them.';
comment on column set_scores.metric is 'Metric; joins metrics.';
comment on column set_scores.metric_label is 'Name of the metric for tables and plots.';
comment on column set_scores.unit is 'Unit of the metric; null for dimensionless.';
comment on column set_scores.higher_is_better is 'Direction of the metric; null where neither end is better.';
comment on column set_scores.published_name is 'The paper''s name of the same quantity; null where the paper has none.';
comment on column set_scores.is_wall_clock is 'Measured with a clock, so different on every machine and in every run.';
comment on column set_scores.value is 'The score over the whole set, in the unit of the metric.';
comment on column set_scores.ci_low is 'Lower end of the 95 % interval; null where none was computed.';
comment on column set_scores.ci_high is 'Upper end of the 95 % interval; null where none was computed.';
comment on column set_scores.n is 'Clips that the value rests on.';
comment on column set_scores.num_identities is 'Different people among the clips; the intervals resample these. Null where not counted.';
comment on column set_scores.num_vectors is 'Feature vectors on each side of a Frechet distance; compare such distances at equal numbers only.';
comment on column set_scores.no_interval_because is 'Why there is no interval, where there is none.';
comment on column set_scores.paper_table is 'The paper''s table whose conditions the protocol matches in full; null: not comparable with any.';
