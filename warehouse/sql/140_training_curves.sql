create view training_curves as
select
    run_id,
    stage,
    name,
    step,
    value,
    avg(value) over (
        partition by run_id, stage, name order by step rows between 19 preceding and current row
    ) as smoothed
from training_steps
order by run_id, stage, name, step;

comment on view training_curves is 'Training curves. Grain: run, stage, name, step.';
comment on column training_curves.smoothed is 'Mean over this and up to 19 earlier logged steps.';
