create view ablation_results as
with published as (
    select
        a.ablation,
        a.position,
        a.variant,
        a.label,
        a.printed_variant,
        a.num_steps,
        p.metric,
        p.higher_is_better,
        p.value,
        p.dataset,
        p.source,
        p.row_number
    from ablation_rows a
    join published_results p
        on p.paper_table = a.paper_table
        and p.method = a.method
        and p.variant = a.printed_variant
        and p.num_steps = a.num_steps
    where p.metric in ('Sync-C', 'Sync-D', 'FVD', 'SSIM')
),
-- Where a variant was scored at all: a metric that could not be measured there still has its printed number beside it.
places as (
    select distinct grid, base_preset, variant, dataset_id, protocol_id from ablation_scores
)
select
    p.ablation,
    p.position,
    p.variant,
    p.label,
    p.num_steps,
    p.metric,
    p.higher_is_better,
    p.value as published_value,
    p.printed_variant as published_variant,
    p.dataset as published_dataset,
    p.source as published_source,
    s.value as own_value,
    s.ci_low as own_ci_low,
    s.ci_high as own_ci_high,
    s.num_repetitions as own_repetitions,
    s.num_clips as own_clips,
    s.no_interval_because,
    o.grid,
    o.base_preset as own_preset,
    o.dataset_id as own_dataset,
    o.protocol_id as own_protocol,
    s.backend as own_backend,
    coalesce(s.paper_table = 'main_hdtf', false) as comparable_with_paper
from published p
left join places o on o.variant = p.variant
left join ablation_scores s
    on s.grid = o.grid
    and s.variant = o.variant
    and s.dataset_id = o.dataset_id
    and s.protocol_id = o.protocol_id
    and s.published_name = p.metric
order by o.grid nulls last, p.row_number, o.dataset_id, o.protocol_id, s.backend;

comment on view ablation_results is
    'Published and own numbers of the ablations, each in columns of its own. Grain: printed row and metric, and grid, data set, protocol and backend of the own number where there is one.';
comment on column ablation_results.ablation is 'Name of the ablation, as `lipforcing ablate --table` takes it.';
comment on column ablation_results.position is 'Position of the row in its table, from 1, as printed.';
comment on column ablation_results.variant is 'The variant that stands for the row; joins ablation_runs.';
comment on column ablation_results.label is 'The variant in words.';
comment on column ablation_results.num_steps is 'Denoising steps per chunk.';
comment on column ablation_results.metric is 'Metric by the paper''s name: Sync-C, Sync-D, FVD or SSIM.';
comment on column ablation_results.higher_is_better is 'Direction of the metric.';
comment on column ablation_results.published_value is 'The number as the paper prints it, of one training of its 1.3B student.';
comment on column ablation_results.published_variant is 'Size and ablation settings as printed.';
comment on column ablation_results.published_dataset is 'Evaluation set of the printed number.';
comment on column ablation_results.published_source is 'Paper and table.';
comment on column ablation_results.own_value is 'Mean over the repetitions of this grid; null where the variant was not run or the metric could not be measured.';
comment on column ablation_results.own_ci_low is 'Lower end of its 95 % interval over repetitions; null below three of them.';
comment on column ablation_results.own_ci_high is 'Upper end of its 95 % interval over repetitions; null below three of them.';
comment on column ablation_results.own_repetitions is 'Trainings with seeds of their own that the own number is the mean of.';
comment on column ablation_results.own_clips is 'Clips that the own number rests on.';
comment on column ablation_results.no_interval_because is 'Why the own number has no interval, where it has none.';
comment on column ablation_results.grid is 'The grid of the own number; joins ablation_runs.';
comment on column ablation_results.own_preset is 'The preset that the own variants are variants of.';
comment on column ablation_results.own_dataset is 'Data set and version of the own number; joins datasets.';
comment on column ablation_results.own_protocol is 'Protocol of the own number; joins protocols.';
comment on column ablation_results.own_backend is 'The network or algorithm that produced the own number, with its hash.';
comment on column ablation_results.comparable_with_paper is 'Whether the protocol matches the paper''s in full. Where it does not, compare directions and no sizes.';
