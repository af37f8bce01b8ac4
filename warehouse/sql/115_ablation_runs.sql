-- Staging: what a run's settings say of the grid that it is a cell of.
create view ablation_runs as
with settings as (
    select
        run_id,
        preset,
        case when json_valid(config_json) then config_json::json -> '$.ablation' end as ablation
    from runs
)
select
    run_id,
    ablation ->> '$.grid' as grid,
    ablation ->> '$.preset' as base_preset,
    ablation ->> '$.variant' as variant,
    (ablation ->> '$.repetition')::bigint as repetition,
    preset
from settings
where ablation is not null
order by all;

comment on view ablation_runs is
    'Finished cells of the grids of `lipforcing ablate`. Grain: run, which is one variant trained with the seeds of one repetition.';
comment on column ablation_runs.run_id is 'The run; joins runs.';
comment on column ablation_runs.grid is 'The grid: equal for runs whose settings differ in the variant and the repetition alone.';
comment on column ablation_runs.base_preset is 'The preset that the variants are variants of.';
comment on column ablation_runs.variant is 'What was trained; joins ablation_rows.';
comment on column ablation_runs.repetition is 'Number of the repetition, from 0; each has its own seeds of teacher, pre-trained and distilled student, and 0 those of the preset.';
comment on column ablation_runs.preset is 'The preset of the variant, by name.';
