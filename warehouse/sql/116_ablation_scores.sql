create view ablation_scores as
with over_repetitions as (
    select
        r.grid,
        r.base_preset,
        r.variant,
        s.dataset_id,
        s.protocol_id,
        s.backend,
        s.metric,
        any_value(s.metric_label) as metric_label,
        any_value(s.published_name) as published_name,
        any_value(s.higher_is_better) as higher_is_better,
        any_value(s.paper_table) as paper_table,
        avg(s.value) as value,
        stddev_samp(s.value) as sd,
        count(*) as num_repetitions,
        min(s.n) as num_clips
    from ablation_runs r
    join set_scores s using (run_id)
    where s.kind = 'student' and not s.is_wall_clock
    group by r.grid, r.base_preset, r.variant, s.dataset_id, s.protocol_id, s.backend, s.metric
)
select
    o.grid,
    o.base_preset,
    o.variant,
    o.dataset_id,
    o.protocol_id,
    o.backend,
    o.metric,
    o.metric_label,
    o.published_name,
    o.higher_is_better,
    o.value,
    case when o.num_repetitions >= 3 then o.value - t.quantile * o.sd / sqrt(o.num_repetitions) end as ci_low,
    case when o.num_repetitions >= 3 then o.value + t.quantile * o.sd / sqrt(o.num_repetitions) end as ci_high,
    o.sd,
    o.num_repetitions,
    o.num_clips,
    case when o.num_repetitions < 3 then 'fewer than 3 repetitions' end as no_interval_because,
    o.paper_table
from over_repetitions o
left join student_t t on t.num_samples = o.num_repetitions
order by o.grid, o.metric, o.backend, o.variant, o.dataset_id, o.protocol_id;

comment on view ablation_scores is
    'Own scores of the variants of a grid, over its repetitions. Grain: grid, variant, data set, protocol, metric, backend.';
comment on column ablation_scores.grid is 'The grid; joins ablation_runs.';
comment on column ablation_scores.base_preset is 'The preset that the variants are variants of.';
comment on column ablation_scores.variant is 'What was trained; joins ablation_rows.';
comment on column ablation_scores.dataset_id is 'Data set and version; joins datasets.';
comment on column ablation_scores.protocol_id is 'Protocol that the values were measured with; joins protocols.';
comment on column ablation_scores.backend is 'The network or algorithm that produced the value, with its hash.';
comment on column ablation_scores.metric is 'Metric; joins metrics.';
comment on column ablation_scores.metric_label is 'Name of the metric for tables and plots.';
comment on column ablation_scores.published_name is 'The paper''s name of the same quantity; null where the paper has none.';
comment on column ablation_scores.higher_is_better is 'Direction of the metric; null where neither end is better.';
comment on column ablation_scores.value is 'Mean over the repetitions of the score over the whole set.';
comment on column ablation_scores.ci_low is 'Lower end of the 95 % interval of Student''s t over repetitions; null below three of them.';
comment on column ablation_scores.ci_high is 'Upper end of the 95 % interval of Student''s t over repetitions; null below three of them.';
comment on column ablation_scores.sd is 'Standard deviation over the repetitions; null for a single one.';
comment on column ablation_scores.num_repetitions is 'Trainings with seeds of their own that the mean is of.';
comment on column ablation_scores.num_clips is 'Clips that each of the scores rests on; the fewest.';
comment on column ablation_scores.no_interval_because is 'Why there is no interval, where there is none.';
comment on column ablation_scores.paper_table is 'The paper''s table whose conditions the protocol matches in full; null: not comparable with any.';
