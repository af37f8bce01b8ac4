create view ablation_contrasts as
with by_repetition as (
    select
        r.grid, r.base_preset, r.variant, r.repetition, s.dataset_id, s.protocol_id, s.backend, s.published_name, s.value
    from ablation_runs r
    join set_scores s using (run_id)
    where s.kind = 'student' and s.published_name is not null
),
-- Variants of one repetition share teacher and pre-trained student, so their difference is paired.
own as (
    select
        a.grid,
        a.base_preset,
        a.variant as variant_a,
        b.variant as variant_b,
        a.dataset_id,
        a.protocol_id,
        a.backend,
        a.published_name,
        avg(b.value - a.value) as difference,
        stddev_samp(b.value - a.value) as sd,
        count(*) as num_repetitions
    from by_repetition a
    join by_repetition b
        on b.grid = a.grid
        and b.repetition = a.repetition
        and b.dataset_id = a.dataset_id
        and b.protocol_id = a.protocol_id
        and b.backend = a.backend
        and b.published_name = a.published_name
    group by
        a.grid, a.base_preset, a.variant, b.variant, a.dataset_id, a.protocol_id, a.backend, a.published_name
),
with_interval as (
    select
        o.*,
        case when o.num_repetitions >= 3 then o.difference - t.quantile * o.sd / sqrt(o.num_repetitions) end as ci_low,
        case when o.num_repetitions >= 3 then o.difference + t.quantile * o.sd / sqrt(o.num_repetitions) end as ci_high
    from own o
    left join student_t t on t.num_samples = o.num_repetitions
),
printed as (
    select distinct
        ablation, position, variant, label, metric, higher_is_better, published_value
    from ablation_results
)
select
    a.ablation,
    a.label as label_a,
    b.label as label_b,
    a.metric,
    a.higher_is_better,
    round(b.published_value - a.published_value, 6) as published_difference,
    o.difference as own_difference,
    o.ci_low as own_ci_low,
    o.ci_high as own_ci_high,
    o.num_repetitions as own_repetitions,
    case
        when o.difference is null then 'not measured'
        when o.ci_low is null then 'too few repetitions'
        when o.ci_low <= 0 and o.ci_high >= 0 then 'not separated'
        when b.published_value = a.published_value then 'no difference published'
        when sign(o.difference) = sign(b.published_value - a.published_value) then 'same direction'
        else 'opposite direction'
    end as verdict,
    a.position as position_a,
    b.position as position_b,
    a.variant as variant_a,
    b.variant as variant_b,
    o.grid,
    o.base_preset as own_preset,
    o.dataset_id as own_dataset,
    o.protocol_id as own_protocol,
    o.backend as own_backend
from printed a
join printed b on b.ablation = a.ablation and b.metric = a.metric and b.position > a.position
left join with_interval o
    on o.variant_a = a.variant and o.variant_b = b.variant and o.published_name = a.metric
order by o.grid nulls last, a.ablation, a.position, b.position, a.metric, own_dataset, own_protocol, own_backend;

comment on view ablation_contrasts is
    'Which of the paper''s differences the own models show: two rows of one table, b minus a. Grain: ablation, pair of its rows, metric, and grid, data set, protocol and backend of the own difference where there is one.';
comment on column ablation_contrasts.ablation is 'Name of the ablation, as `lipforcing ablate --table` takes it.';
comment on column ablation_contrasts.label_a is 'The upper row of the pair, in words.';
comment on column ablation_contrasts.label_b is 'The lower row of the pair, in words.';
comment on column ablation_contrasts.metric is 'Metric by the paper''s name: Sync-C, Sync-D, FVD or SSIM.';
comment on column ablation_contrasts.higher_is_better is 'Direction of the metric.';
comment on column ablation_contrasts.published_difference is 'Printed value of b minus that of a: one training each, so its own noise is not known.';
comment on column ablation_contrasts.own_difference is 'Mean over the repetitions of b minus a, which share teacher and pre-trained student; null where one was not run.';
comment on column ablation_contrasts.own_ci_low is 'Lower end of its 95 % interval of Student''s t over repetitions; null below three of them.';
comment on column ablation_contrasts.own_ci_high is 'Upper end of its 95 % interval of Student''s t over repetitions; null below three of them.';
comment on column ablation_contrasts.own_repetitions is 'Repetitions in which both were run.';
comment on column ablation_contrasts.verdict is
    'same direction, opposite direction, or not separated (the own interval holds zero); too few repetitions below three, not measured without any, and no difference published where the printed values are equal.';
comment on column ablation_contrasts.position_a is 'Position of the upper row in its table, from 1, as printed.';
comment on column ablation_contrasts.position_b is 'Position of the lower row.';
comment on column ablation_contrasts.variant_a is 'Variant of the upper row; joins ablation_runs.';
comment on column ablation_contrasts.variant_b is 'Variant of the lower row; joins ablation_runs.';
comment on column ablation_contrasts.grid is 'The grid of the own difference; joins ablation_runs.';
comment on column ablation_contrasts.own_preset is 'The preset that the own variants are variants of.';
comment on column ablation_contrasts.own_dataset is 'Data set and version of the own difference; joins datasets.';
comment on column ablation_contrasts.own_protocol is 'Protocol of the own difference; joins protocols.';
comment on column ablation_contrasts.own_backend is 'The network or algorithm that produced the own numbers, with its hash.';
